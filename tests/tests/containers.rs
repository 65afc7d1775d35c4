//! docker-compose.yml, Dockerfile and deploy/, held against the configuration, the workspace and each other. No container runs here:
//! what only an engine shows (that an image starts, that a tag exists) is not shown by this.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: what is not as it must be ends the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tidemark_tests::place::Place;
use tidemark_tests::running::http_get;
use tidemark_tests::{binary, wait};

fn root() -> PathBuf {
    binary::workspace().to_owned()
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// YAML as JSON.
fn plain(yaml: &Yaml<'_>) -> Value {
    if let Some(map) = yaml.as_mapping() {
        return map.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), plain(value))).collect::<Map<_, _>>().into();
    }
    if let Some(list) = yaml.as_sequence() {
        return list.iter().map(plain).collect::<Vec<_>>().into();
    }
    let scalar = yaml.as_str().map(Value::from).or_else(|| yaml.as_integer().map(Value::from));
    scalar.or_else(|| yaml.as_bool().map(Value::from)).unwrap_or_default()
}

fn yaml(name: &str) -> Value {
    let text = text(name);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(documents.len(), 1, "{name}");
    plain(&documents[0])
}

fn services() -> Map<String, Value> {
    yaml("docker-compose.yml")["services"].as_object().unwrap().clone()
}

/// The texts of a list.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn environment(service: &Value) -> BTreeMap<&str, &str> {
    let pairs = service["environment"].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_else(|| panic!("{name} is a text")))).collect()
}

/// Names in `${NAME:?…}`; any other `$` is a failure.
fn asked_for(text: &str) -> Vec<&str> {
    let parts = text.split('$').skip(1);
    parts
        .map(|part| {
            let name = part.strip_prefix('{').and_then(|part| part.split_once(":?"));
            name.unwrap_or_else(|| panic!("`${part}` has no `:?`")).0
        })
        .collect()
}

/// `.env` as the script makes it.
fn generated(folder: &TempDir) -> BTreeMap<String, String> {
    let made = script("deploy/secrets.sh", &[folder.path().to_str().unwrap()], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(folder.path().join(".env")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn script(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(root().join(name));
    command.args(arguments).envs(environment.iter().copied()).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The reference of the configuration: key → (is, default, for).
fn reference() -> BTreeMap<String, (String, String, String)> {
    let keys: Value = serde_json::from_str(&Place::new().succeed(&["config", "schema", "--format", "json"])).unwrap();
    let part = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
    keys.as_array()
        .unwrap()
        .iter()
        .map(|key| (part(key, "key"), (part(key, "is"), part(key, "default"), part(key, "for"))))
        .collect()
}

/// deploy/tidemark.toml by path.
fn settings() -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text("deploy/tidemark.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            found.insert(format!("{section}.{key}"), value.trim_matches(['"', '[', ']']).to_owned());
        }
    }
    found
}

#[test]
fn images_are_pinned_services_watched_and_ports_local() {
    let services = services();
    let awaited = |name: &str, condition: &str| {
        services.values().any(|service| service["depends_on"][name]["condition"].as_str() == Some(condition))
    };
    for (name, service) in &services {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap_or_else(|| panic!("{name} has no tag"));
        let numbers: Vec<&str> = tag.trim_start_matches('v').split('.').collect();
        assert!(numbers.len() >= 2 && numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{name}: {tag} is no version");
        let runs_once = service["restart"] == "no";
        if runs_once {
            assert!(awaited(name, "service_completed_successfully"), "nobody waits for {name}");
        } else {
            assert!(texts(&service["healthcheck"]["test"]).len() > 1, "{name} has no health check");
            assert_eq!(service["restart"], "unless-stopped", "{name}");
        }
        for port in texts(&service["ports"]) {
            let parts: Vec<&str> = port.split(':').collect();
            assert!(matches!(parts[..], ["127.0.0.1", host, inside] if host == inside), "{name}: {port}");
        }
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            let once = services[needed]["restart"] == "no";
            assert_eq!(how["condition"] == "service_completed_successfully", once, "{name} waits for {needed}");
        }
    }
}

#[test]
fn volumes_are_declared_and_what_is_mounted_is_there() {
    let declared: BTreeSet<String> = yaml("docker-compose.yml")["volumes"].as_object().unwrap().keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for volume in texts(&service["volumes"]) {
            match volume.split_once(':').unwrap().0 {
                source if source.starts_with("./") => assert!(root().join(source).exists(), "{name}: {source} is not there"),
                source if source.starts_with('$') => {}
                source => assert!(used.insert(source.to_owned()), "{source} is in two services"),
            }
        }
        let keeps_data = ["nebula-hosts", "graphd", "schema-registry"].iter().all(|stateless| *stateless != name);
        assert!(!keeps_data || service["volumes"].is_array(), "{name} would lose its data");
    }
    assert_eq!(used, declared);
}

#[test]
fn passwords_are_asked_for_and_generated() {
    let folder = TempDir::new().unwrap();
    let passwords = generated(&folder);
    let mut asked = BTreeSet::new();
    for (name, service) in services() {
        for (key, value) in environment(&service) {
            let is_secret =
                ["PASSWORD", "KEY", "SECRET"].iter().any(|word| key.contains(word)) || value.contains('@') && key.contains("URL");
            if is_secret {
                assert!(!asked_for(value).is_empty(), "{name}: {key} is written down");
            }
            asked.extend(asked_for(value).into_iter().map(str::to_owned));
        }
    }
    assert_eq!(asked, passwords.keys().cloned().collect(), "what is asked for is what is generated");
    let different: BTreeSet<&String> = passwords.values().collect();
    assert_eq!(different.len(), passwords.len());
    assert!(different.iter().all(|password| password.len() == 24 && password.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    let file = folder.path().join(".env");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    let again = script("deploy/secrets.sh", &[folder.path().to_str().unwrap()], &[]);
    assert!(!again.status.success() && fs::read(&file).unwrap() == before, "passwords that are in use stay");
    assert!(text(".env.example").lines().all(|line| line.starts_with('#') || line.is_empty() || line.ends_with('=')));
    let secrets: Vec<String> = reference().into_iter().filter(|(_, (is, ..))| is == "secret text").map(|(key, _)| key).collect();
    for secret in secrets {
        assert!(!settings().contains_key(&secret), "{secret} stands in deploy/tidemark.toml");
    }
}

#[test]
fn the_mounted_configuration_holds() {
    let passwords = generated(&TempDir::new().unwrap());
    let services = services();
    let mut place = Place::new();
    for (name, value) in environment(&services["tidemark"]) {
        let asked = asked_for(value);
        let (start, rest) = value.split_once("${").unwrap_or((value, ""));
        let end = rest.split_once('}').map_or("", |(_, end)| end);
        place.set(name, &format!("{start}{}{end}", asked.iter().map(|name| passwords[*name].as_str()).collect::<String>()));
    }
    let file = root().join("deploy/tidemark.toml");
    let said = place.succeed(&["config", "check", "--config", file.to_str().unwrap()]);
    for part in ["on Kafka at kafka:19092, prefix tidemark", "Postgres, schema tidemark", "graphd:9669, space tidemark"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let wrong = TempDir::new().unwrap();
    let other = wrong.path().join("tidemark.toml");
    fs::write(&other, text("deploy/tidemark.toml").replace("brokers =", "broker =")).unwrap();
    assert_eq!(place.run(&["config", "check", "--config", other.to_str().unwrap()]).code, Some(2));

    // Every address in it is a service that listens there.
    let url = environment(&services["tidemark"])["TIDEMARK__SINKS__RELATIONAL__URL"].rsplit('@').next().unwrap().to_owned();
    let addresses =
        ["log.brokers", "schema_registry.url", "sinks.graph.addresses", "sinks.analytics.url"].map(|key| settings()[key].clone());
    for address in addresses.iter().chain([&url]) {
        let host_and_port = address.trim_start_matches("http://").split('/').next().unwrap();
        let (host, port) = host_and_port.split_once(':').unwrap();
        let service = services.get(host).unwrap_or_else(|| panic!("{address}: there is no service {host}"));
        let listens = texts(&service["ports"]).iter().any(|published| published.ends_with(&format!(":{port}")))
            || service["environment"]["KAFKA_ADVERTISED_LISTENERS"].as_str().is_some_and(|text| text.contains(host_and_port));
        assert!(listens, "{host} does not listen on {port}");
    }
}

#[test]
fn a_program_on_this_machine_finds_the_servers_by_its_defaults() {
    let services = services();
    let published: BTreeSet<&str> =
        services.values().flat_map(|service| texts(&service["ports"])).map(|port| port.rsplit_once(':').unwrap().0).collect();
    let reference = reference();
    let keys = [
        "log.brokers",
        "schema_registry.url",
        "sinks.relational.url",
        "sinks.graph.addresses",
        "sinks.analytics.url",
        "http.listen",
    ];
    for key in keys {
        let (_, default, doc) = &reference[key];
        let place = format!("{default} {doc}");
        let start = place.find("127.0.0.1:").unwrap_or_else(|| panic!("{key} names no address"));
        let end = place[start + 10..].find(|c: char| !c.is_ascii_digit()).map_or(place.len(), |length| start + 10 + length);
        assert!(published.contains(&place[start..end]), "{key}: {} is not published", &place[start..end]);
    }
    let settings = settings();
    for key in ["log.prefix", "sinks.relational.schema", "sinks.graph.space", "sinks.analytics.database", "sinks.graph.user"] {
        assert_eq!(settings[key], reference[key].1, "{key}");
    }
    assert_eq!(services["clickhouse"]["environment"]["CLICKHOUSE_DB"], *settings["sinks.analytics.database"]);
    assert_eq!(services["clickhouse"]["environment"]["CLICKHOUSE_USER"], *settings["sinks.analytics.user"]);
    let postgres = environment(&services["postgres"]);
    assert!(reference["sinks.relational.url"].2.contains(&format!("{}@", postgres["POSTGRES_USER"])));
    assert!(reference["sinks.relational.url"].2.contains(&format!("/{}`", postgres["POSTGRES_DB"])));
}

#[test]
fn the_image_is_made_of_every_member_and_runs_as_nobody_special() {
    let dockerfile = text("Dockerfile");
    let lines = |word: &str| dockerfile.lines().filter_map(|line| line.strip_prefix(&format!("{word} "))).collect::<Vec<_>>();
    let stages = lines("FROM");
    let manifest = text("Cargo.toml");
    let toolchain = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert_eq!(stages[0], format!("rust:{toolchain}-bookworm AS build"), "the compiler is the one that the workspace asks for");
    assert!(stages.len() == 2 && stages[1].ends_with("-slim"), "{stages:?}");
    let (_, runtime) = dockerfile.rsplit_once("\nFROM ").unwrap();
    assert!(runtime.contains("useradd --system --uid 10001") && runtime.contains("\nUSER tidemark\n"), "{runtime}");

    let copied: BTreeSet<String> = lines("COPY")
        .iter()
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| {
            let mut words: Vec<&str> = line.split(' ').collect();
            words.pop();
            words
        })
        .map(str::to_owned)
        .collect();
    let (_, members) = manifest.split_once("members = [").unwrap();
    let members = members.split_once(']').unwrap().0.split(',').map(|member| member.trim().trim_matches('"'));
    let folders = members.filter(|member| !member.is_empty()).map(|member| match member {
        "." => "src",
        member => member.split('/').next().unwrap(),
    });
    let needed: BTreeSet<String> = folders.chain([".cargo", "Cargo.toml", "Cargo.lock"]).map(str::to_owned).collect();
    assert_eq!(copied, needed, "what the Dockerfile copies and what the workspace consists of");
    let ignored = text(".dockerignore");
    let let_in: BTreeSet<String> = ignored.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    assert_eq!(let_in, needed, ".dockerignore");

    // Cargo finds everything in what is copied.
    let context = TempDir::new().unwrap();
    for name in &copied {
        let done = Command::new("cp").args(["-r", name]).arg(context.path()).current_dir(root()).status().unwrap();
        assert!(done.success(), "{name}");
    }
    fs::remove_dir_all(context.path().join("tests/servers")).unwrap();
    // Of this machine's platform alone: what others need is nowhere where nobody has built for them.
    let about = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let about = String::from_utf8(about).unwrap();
    let platform = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = ["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", platform];
    let output = Command::new(env!("CARGO")).args(metadata).current_dir(context.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let services = services();
    let tidemark = &services["tidemark"];
    let mounted: Vec<&str> = texts(&tidemark["volumes"]);
    let command = lines("CMD")[0];
    for (flag, source) in [("--config", "./deploy/tidemark.toml"), ("--data", "tidemark")] {
        let target =
            mounted.iter().find_map(|volume| volume.strip_prefix(&format!("{source}:"))).unwrap().trim_end_matches(":ro");
        assert!(command.contains(&format!("\"{flag}\", \"{target}\"")), "{command} does not name {target}");
    }
    assert!(mounted.iter().any(|volume| volume.ends_with(&format!(":{}", settings()["connectors.file.root"]))));
    let (_, port) = settings()["http.listen"].rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    assert_eq!(lines("EXPOSE"), [port.as_str()]);
    assert!(texts(&tidemark["ports"]).iter().any(|published| published.ends_with(&format!(":{port}"))));
}

#[test]
fn the_health_check_of_the_image_tells_a_program_that_answers_from_none() {
    let place = Place::new();
    let services = services();
    let test = texts(&services["tidemark"]["healthcheck"]["test"]);
    let ["CMD", "bash", "-c", check] = test[..] else { panic!("{test:?}") };
    let check = check.replace("8787", &place.port().to_string());
    let healthy = || Command::new("bash").args(["-c", &check]).output().unwrap().status.success();
    assert!(!healthy(), "nobody listens yet");
    let _running = place.start(&["up"]);
    wait::until("an answer", wait::PATIENCE, || http_get(place.port(), "/health"));
    assert!(healthy());
}

#[test]
fn grafana_finds_the_boards_and_the_data_source() {
    let services = services();
    let grafana = environment(&services["grafana"]);
    let source = text("dashboards/provisioning/datasources/clickhouse.yaml");
    let names: BTreeSet<&str> = source
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('$'))
        .map(|(_, name)| name.trim())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| grafana.contains_key(name)), "{names:?}");
    assert_eq!(grafana["TZ"], "Asia/Shanghai");
    assert!(
        text("dashboards/reader.sql").contains(&format!("CREATE USER IF NOT EXISTS {}\n", grafana["TIDEMARK_CLICKHOUSE_USER"]))
    );
    let boards = yaml("dashboards/provisioning/dashboards/tidemark.yaml");
    let path = boards["providers"][0]["options"]["path"].as_str().unwrap();
    assert!(texts(&services["grafana"]["volumes"]).contains(&format!("./dashboards/boards:{path}:ro").as_str()), "{path}");
    let host = yaml("dashboards/provisioning/datasources/clickhouse.yaml")["datasources"][0]["jsonData"]["port"].as_u64();
    assert_eq!(host, Some(8123));
}

/// A folder with a program of this name, to be put before the others.
fn program(name: &str, text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    (folder, paths)
}

/// A console as NebulaGraph's, with the password in a file beside it and hosts that are made known.
const CONSOLE: &str = r#"#!/bin/sh
here=$(dirname "$0")
while [ $# -gt 0 ]; do
    case "$1" in -p) password=$2 ;; -e) statement=$2 ;; esac
    shift
done
echo "$statement" >> "$here/statements"
[ "$password" = "$(cat "$here/password")" ] || { echo "Authentication failed"; exit 1; }
case "$statement" in
    "CHANGE PASSWORD"*) echo "$statement" | sed "s/.*TO '\(.*\)'/\1/" > "$here/password" ;;
    "ADD HOSTS"*) echo storaged >> "$here/hosts" ;;
    "SHOW HOSTS META") echo "metad ONLINE" ;;
    "SHOW HOSTS") [ ! -f "$here/hosts" ] || echo "storaged ONLINE" ;;
esac
"#;

#[test]
fn nebula_gets_its_password_and_host_once() {
    let (folder, paths) = program("nebula-console", CONSOLE);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let run = |password: &str| {
        script("deploy/nebula-hosts.sh", &[], &[("PATH", &paths), ("NEBULA_PASSWORD", password), ("TRIES", "1")])
    };
    fs::write(folder.path().join("password"), "nebula\n").unwrap();
    for _ in 0..2 {
        let done = run("Abc123");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(read("password").trim(), "Abc123");
        assert!(read("hosts").starts_with("storaged"));
    }
    assert_eq!(read("statements").matches("CHANGE PASSWORD").count(), 1, "{}", read("statements"));
    let other = run("Other1");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && said.contains("root has neither"), "{said}");
    assert_eq!(read("password").trim(), "Abc123");
}

#[test]
fn the_reader_of_clickhouse_is_made_with_its_password() {
    let (folder, paths) = program("clickhouse-client", "#!/bin/sh\necho \"$@\" > \"$0.arguments\"\ncat > \"$0.input\"\n");
    // In the container the statements lie elsewhere.
    let text = text("deploy/clickhouse-reader.sh")
        .replace(" /reader.sql", &format!(" {}", root().join("dashboards/reader.sql").display()));
    let path = folder.path().join("reader.sh");
    fs::write(&path, text).unwrap();
    let mut command = Command::new("bash");
    command.arg(&path).env("PATH", paths).env("CLICKHOUSE_USER", "tidemark").env("CLICKHOUSE_PASSWORD", "Abc1");
    assert!(command.env("CLICKHOUSE_READER_PASSWORD", "Reader1").status().unwrap().success());
    let read = |ending: &str| fs::read_to_string(folder.path().join(format!("clickhouse-client.{ending}"))).unwrap();
    assert!(read("arguments").contains("--user tidemark --password Abc1"));
    let statements = read("input");
    assert!(statements.contains("sha256_password BY 'Reader1'") && !statements.contains("BY '<password>'"), "{statements}");
    assert!(statements.contains("GRANT SELECT ON tidemark.*"));
}

#[test]
fn scripts_are_executable() {
    for name in ["deploy/secrets.sh", "deploy/nebula-hosts.sh"] {
        assert!(Path::new(&root().join(name)).metadata().unwrap().permissions().mode() & 0o100 != 0, "{name}");
    }
}
