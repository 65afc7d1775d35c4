#!/bin/sh
# Run by docker-compose.yml in NebulaGraph's console: root gets a password of its own in place of the one that it comes with, and the
# host that stores is made known. Both may be done already. Ends with 0 when that host is online.
set -u

TRIES=${TRIES:-60}

# The console may end with 0 whatever the server said, so what it printed decides.
say() { nebula-console -addr graphd -port 9669 -u root -p "$1" -e "$2" 2>&1; }
knows() { say "$1" "SHOW HOSTS META" | grep -q ONLINE; }

# Repeats a step until it holds: graphd answers a little before metad knows it.
until_holds() {
    tries=0
    until "$1"; do
        tries=$((tries + 1))
        if [ "$tries" -ge "$TRIES" ]; then
            echo "gave up: $2" >&2
            exit 1
        fi
        sleep 1
    done
}

has_password() {
    knows "$NEBULA_PASSWORD" && return
    say nebula "CHANGE PASSWORD root FROM 'nebula' TO '$NEBULA_PASSWORD'" > /dev/null
    knows "$NEBULA_PASSWORD"
}

is_online() {
    say "$NEBULA_PASSWORD" 'ADD HOSTS "storaged":9779' > /dev/null
    say "$NEBULA_PASSWORD" "SHOW HOSTS" | grep storaged | grep -q ONLINE
}

until_holds has_password "root has neither the password of .env nor the one that it comes with"
until_holds is_online "storaged does not come online"
echo "storaged is online"
