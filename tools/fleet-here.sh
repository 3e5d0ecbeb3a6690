# Read by tools/run.sh: a server and this host, enrolled, beside the guard of `make run`. Everything lies in $WORK and listens on loopback only.
#
# Owns: the server and host processes. Must not: touch a server or an enrolment that this machine has already.
FLEET_SERVER=
FLEET_HOST=
FLEET_API=127.0.0.1:17443
FLEET_LINK=127.0.0.1:17444

stop_fleet() {
    local pid
    for pid in $FLEET_HOST $FLEET_SERVER; do
        kill -TERM "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
}

# Waits until the log $1 says $2; process $3 must live meanwhile.
wait_said() {
    for _ in $(seq 300); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    tail -5 "$1" >&2
    die "it did not say \"$2\": see $1"
}

owner() { PORTCULLIS_OWNER=$WORK/owner "$BUILD/portcullis" "$@"; }

# One owner with an ordinary SSH key here; a real fleet has several, each on a machine of their own, and thresholds above one.
make_owner() {
    local log_key=$1
    mkdir -m 700 "$WORK/owner"
    ssh-keygen -q -t ed25519 -N '' -C owner -f "$WORK/owner/key"
    owner trust new --tenant here --owner "owner=$WORK/owner/key.pub:BCST" --threshold B=1,C=1,S=1,T=1 --log-key "$log_key" --dwell 0 -o "$WORK/owner/trust.json" >/dev/null
    owner approve "$WORK/owner/trust.json" --key "$WORK/owner/key" --yes >/dev/null
    (umask 077 && "$BUILD/portcullis-server" api-token --state "$WORK/server" owner --role operate >"$WORK/owner/token")
    printf '[server]\nurl = https://%s\nca = %s\ntoken = %s\n' "$FLEET_API" "$WORK/server/ca.pem" "$WORK/owner/token" >"$WORK/owner/owner.conf"
}

start_fleet() {
    local log_key ref
    step "A server and this host, enrolled (loopback only, gone with Ctrl-C)"
    log_key=$("$BUILD/portcullis-server" init --state "$WORK/server" --tenant here --listen "$FLEET_API" --link "$FLEET_LINK" --name 127.0.0.1 | sed -n 's/^log key: //p')
    make_owner "$log_key"
    "$BUILD/portcullis-server" trust --state "$WORK/server" "$WORK/owner/trust.json" >/dev/null
    setsid "$BUILD/portcullis-server" run --state "$WORK/server" >"$WORK/server.log" 2>&1 &
    FLEET_SERVER=$!
    wait_said "$WORK/server.log" ready "$FLEET_SERVER"
    ref=$("$BUILD/portcullisd" enroll --fleet-state "$STATE/fleet" --server "https://$FLEET_API" --ca "$WORK/server/ca.pem" --trust "$WORK/owner/trust.json" \
        --name here --token "$("$BUILD/portcullis-server" enroll-token --state "$WORK/server")" | sed -n 's/^host: //p')
    echo "$ref" >"$WORK/owner/hosts"
    # hash.block would look at every file system of this machine: here only at the demo's own.
    printf '[log]\njournal = no\n[fleet]\nblock-mount = %s\n' "$WORK/disk" >"$WORK/host.conf"
    setsid "$BUILD/portcullisd" host --state "$STATE" --fleet-state "$STATE/fleet" --config "$WORK/host.conf" >"$WORK/host.log" 2>&1 &
    FLEET_HOST=$!
    wait_said "$WORK/host.log" ready "$FLEET_HOST"
    run_first_order "$ref"
}

# A quorum (of one, here) starts something: written, signed, sent, run, and its result signed by the host.
run_first_order() {
    owner order new script.run --argv /bin/uname --argv -a --hosts "$1" -o "$WORK/owner/first.json" >/dev/null
    owner approve "$WORK/owner/first.json" --key "$WORK/owner/key" --yes >/dev/null
    if owner submit "$WORK/owner/first.json" --watch; then good "an order that the owner signed ran here"; else bad "the first order"; fi
}

how_to_look_at_fleet() {
    say ""
    say "  export PORTCULLIS_OWNER=$WORK/owner"
    say "  $BUILD/portcullis hosts                       the fleet"
    say "  $BUILD/portcullis orders                      what was ordered;  order status $WORK/owner/first.json --output"
    say "  $BUILD/portcullis log verify                  the whole log, checked"
    say "  $BUILD/portcullis order new script.run --argv /bin/date --hosts here -o o.json && \\"
    say "    $BUILD/portcullis approve o.json --key $WORK/owner/key && $BUILD/portcullis submit o.json --watch"
    say "  make demo-fleet tells the story with three hosts and three owners; tests/own-the-server/run plays the thief of the server"
}
