#!/usr/bin/env bash
# Makes .env beside docker-compose.yml, with a password for each name in .env.example, readable by you alone. A file that is there is
# never touched: the servers keep the passwords that they were first started with.
#   deploy/secrets.sh [FOLDER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
file=${1:-.}/.env

if [ -e "$file" ]; then
    echo "$file is there already; nothing was changed" >&2
    exit 1
fi
umask 077
fresh=$(mktemp --tmpdir="${1:-.}")
trap 'rm -f "$fresh"' EXIT
while IFS= read -r line; do
    case "$line" in
        # NebulaGraph takes no more than 24 characters; letters and digits mean the same in addresses, SQL and nGQL.
        [A-Z]*=) printf '%s%s\n' "$line" "$(LC_ALL=C tr -dc 'A-Za-z0-9' < <(head -c 4096 /dev/urandom) | cut -c 1-24)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < .env.example > "$fresh"
mv "$fresh" "$file"
trap - EXIT
echo "$file holds the passwords; keep it"
