-- The user as whom the boards read. Run it once as an administrator, with a password of your own in place of <password>:
--   clickhouse-client --multiquery < dashboards/reader.sql
-- It may read the store's database and nothing else, change nothing, and take so much of the server at most. The plugin sets
-- max_execution_time itself, so that one may be changed. The database holds personal data: give the password to Grafana alone.

CREATE SETTINGS PROFILE IF NOT EXISTS tidemark_reader SETTINGS
  readonly = 1,
  max_execution_time = 30 CHANGEABLE_IN_READONLY,
  max_memory_usage = 2000000000,
  max_result_rows = 100000,
  max_rows_to_read = 500000000;

CREATE USER IF NOT EXISTS tidemark_reader
  IDENTIFIED WITH sha256_password BY '<password>'
  SETTINGS PROFILE 'tidemark_reader';

GRANT SELECT ON tidemark.* TO tidemark_reader;
