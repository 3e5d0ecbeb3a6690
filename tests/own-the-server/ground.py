"""The ground that attacks are tried on: a fleet that is thrown away afterwards, or somebody's own.

Owns: where the stolen server's keys and log are found, how a host's log and files are read, and the attacks that need the real server's
database rather than its keys. Must not: decide what counts as owned for the attacks on the wire (kit, attacks).
"""
import http.server
import json
import os
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "fleet"))
import fleet as machines  # noqa: E402
from attacks import Owned  # noqa: E402
from evil import Evil  # noqa: E402

SILENCE = 60  # seconds: the shortest that a trust file may say


class Ground:
    """What both kinds have: one host under attack, the owners' keys, and the stolen keys."""

    tenant, cap, silence, threshold = "city", 10, SILENCE, 2
    pause = 0.1  # seconds between two looks at the host's log
    cannot = {}  # name of an attack: why it cannot be tried on this ground

    def take_server(self):
        """The honest server is off the network from here on; somebody else answers at its address."""
        raise NotImplementedError

    def memory(self):
        """What the host's programs use, as words to add to a result: nothing where it cannot be seen from here."""
        return ""

    mark = ""  # the log's end when the attack began: what an earlier one made the host say proves nothing

    def begin(self):
        self.mark = self.log_text()[-4096:]

    def since(self, text):
        """What the host has said since the attack began. The log is looked for by its end, not by its length: read_log may give a window that moves."""
        at = text.rfind(self.mark)
        return text if at < 0 else text[at + len(self.mark):]

    def said(self, seconds, *words, ever=False):
        """Waits for one line of the host's log that has all these words, said since the attack began (or ever)."""
        until = time.monotonic() + seconds
        while True:
            text = self.log_text() if ever else self.since(self.log_text())
            if any(all(w in line for w in words) for line in text.splitlines()):
                return
            if time.monotonic() > until:
                raise Owned("the host's log has no line with %s; it says since:\n%s" % (" and ".join(map(repr, words)), text[-1500:]))
            time.sleep(self.pause)


class Throwaway(Ground):
    """A server and two hosts of our own, in network namespaces."""

    def __init__(self):
        self.fleet = machines.Fleet(hosts=2, silence=SILENCE, cap=self.cap)
        self.files_server = None

    def __enter__(self):
        self.fleet.__enter__()
        host = self.fleet.hosts[0]
        self.name, self.ref, self.files, self.host = host.name, host.ref, host.files, host
        self.owner_keys = [owner.key for owner in self.fleet.owners]
        with open(self.fleet.trust, "rb") as document:
            self.trust_document = document.read()
        path, _ = self.fleet.order("control", "script.run", "--argv", "/bin/true", "--timeout", "30")
        self.fleet.wait_outcome(path)
        with open(path, encoding="utf-8") as document:
            self.sequence = json.load(document)["sequence"]
        return self

    def __exit__(self, *unused):
        if self.files_server:
            self.files_server.shutdown()
        self.fleet.__exit__(*unused)

    def log_text(self):
        return self.host.program.text(all_runs=True)

    def memory(self):
        """Resident KiB of the host's roles together, in words."""
        total = 0
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as words, open("/proc/%s/status" % entry, encoding="ascii", errors="replace") as status:
                    if self.host.state.encode() in words.read():
                        total += sum(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
            except OSError:
                continue
        return "; runner and link use %d KiB" % total

    # --- with the real server's database in hand

    def database(self, statement, *values, wait=True):
        """What root on the server can do to it: any change, behind the program's back. A host whose row is gone does not come back."""
        self.fleet.server_program.stop()
        with sqlite3.connect(os.path.join(self.fleet.server_state, "server.db")) as database:
            changed = database.execute(statement, values).rowcount
        database.close()
        self.fleet.server_program.start().wait_said("ready")
        for host in self.fleet.hosts if wait else ():
            machines.eventually("%s is back" % host.name, lambda name=host.name: self.fleet.online(name), 90)
        return changed

    def mirror_lies(self):
        owner = self.fleet.owners[0]
        owner.must("log", "verify")
        change = "UPDATE log_entry SET entry = CAST(replace(CAST(entry AS TEXT), ?, ?) AS BLOB) WHERE n = 1"
        if self.database(change, '"city"', '"CITY"') != 1:
            raise Owned("the test could not change the server's log")
        done = owner.portcullis("log", "verify")
        self.database(change, '"CITY"', '"city"')
        if owner.portcullis("log", "verify").returncode != 0:
            raise Owned("log verify finds fault with the honest log, too")
        if done.returncode == 0:
            raise Owned("log verify found nothing wrong with a changed entry")
        return "log verify: %s" % (done.stderr or done.stdout).strip().splitlines()[-1][:160]

    def forge_result(self, kit):
        owner = self.fleet.owners[0]
        path, digest = self.fleet.order("never-ran", "script.run", "--argv", "/bin/touch", "--argv", kit.marker_path("never-ran"), by=1)
        self.database("UPDATE order_host SET state = 'ok', outcome = 'ok' WHERE order_sha256 = ?", digest)
        shown = [h for h in self.fleet.order_status(path)["hosts"]]
        if any(h.get("proven") for h in shown):
            raise Owned("order status calls a forged result proven")
        said = owner.must("order", "status", digest)
        kit.nothing_ran()
        return "order status does not call it proven: %s" % said.strip().splitlines()[-1][:120]

    def hijack_enrolment(self, kit):
        """First under the same name with a good token; then with this host's row taken out of the database."""
        fleet = self.fleet
        thief = machines.Namespace(fleet.network, "thief", machines.SUBNET + "66")
        words = [fleet.program("portcullisd"), "enroll", "--fleet-state", os.path.join(fleet.dir, "thief"), "--server", fleet.url, "--ca", fleet.ca,
                 "--trust", fleet.trust, "--name", self.name, "--token", fleet.enroll_token()]
        if machines.run(thief.words(words), env=fleet.env).returncode == 0:
            raise Owned("the server gave a second machine the name %s" % self.name)
        token = fleet.enroll_token()
        words[-1] = token
        words[words.index("--fleet-state") + 1] = os.path.join(fleet.dir, "thief2")
        other = fleet.hosts[1].name
        self.database("UPDATE host SET name = 'was-' || name WHERE name = ?", other, wait=False)
        done = machines.run(thief.words([w if w != self.name else other for w in words]), env=fleet.env)
        if done.returncode != 0:
            raise Owned("the test's own hijack failed: %s" % done.stderr)
        owner = fleet.owners[0]
        told = owner.portcullis("hosts")
        self.database("DELETE FROM host WHERE name = ?", other, wait=False)
        self.database("UPDATE host SET name = ? WHERE name = ?", other, "was-" + other)
        if told.returncode == 0:
            raise Owned("portcullis hosts did not notice that %s has another identity than the owner pinned" % other)
        return "taken name refused; identity change noticed: %s" % told.stderr.strip().splitlines()[-1][:140]

    # --- with its keys in hand

    def take_server(self):
        import tree
        from kit import honest_signer
        entries = self.entries()
        self.fleet.server_program.stop()
        state = self.fleet.server_state
        log = tree.Log(honest_signer(os.path.join(state, "log.key")), entries)
        return Evil(machines.SERVER_ADDRESS, machines.LINK_PORT, os.path.join(state, "server.pem"), os.path.join(state, "server.key"), log,
                    namespace=self.fleet.server_space.name)

    def entries(self):
        with sqlite3.connect(os.path.join(self.fleet.server_state, "server.db")) as database:
            rows = database.execute("SELECT entry FROM log_entry ORDER BY n").fetchall()
        database.close()
        return [bytes(row[0]) if not isinstance(row[0], str) else row[0].encode() for row in rows]

    def serve_file(self, content):
        """Whatever is asked for over HTTPS at the server's address: this, under the server's own certificate."""
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *unused):
                pass
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.fleet.server_state, "server.pem"), os.path.join(self.fleet.server_state, "server.key"))
        self.files_server = http.server.ThreadingHTTPServer((machines.SERVER_ADDRESS, machines.API_PORT), Answer, bind_and_activate=False)
        self.files_server.socket.close()
        self.files_server.socket = context.wrap_socket(Evil.listen(_Where(self.fleet.server_space.name), machines.SERVER_ADDRESS, machines.API_PORT),
                                                       server_side=True)
        threading.Thread(target=self.files_server.serve_forever, daemon=True).start()

    def stop_by_hand(self, kit):
        """A halt of an order that nobody ever made, signed by one owner and carried to the host as a file."""
        document = kit.document(action="rollout.halt", class_="S", params={"order_sha256": "00" * 32})
        path = os.path.join(self.fleet.dir, "by-hand.json")
        with open(path, "wb") as out:
            out.write(document)
        with open(path + ".carol.sig", "w", encoding="ascii") as out:
            out.write(kit.signs(2, document))
        done = self.host.apply_stop(path)
        if done.returncode != 0:
            raise Owned("the host does not take a stop by hand: %s" % done.stderr)
        kit.nothing_ran()
        return "silence noticed; the stop arrived by hand"


class _Where:
    """Only what Evil.listen needs to know."""

    def __init__(self, namespace):
        self.namespace = namespace


class Given(Ground):
    """Somebody's own fleet, described in a JSON file; see README.md beside this. The honest server must be stopped by hand first."""

    cannot = dict.fromkeys(("malicious-mirror", "forged-result", "enrolment-hijack"), "changes the server's database behind its back: throwaway fleet only")
    pause = 1.0  # read_log may be an ssh
    cannot["withheld-stop"] = "carries a file to the host: throwaway fleet only"
    cannot["wrong-software"] = "answers on the API's port as well: throwaway fleet only"

    def __init__(self, path):
        with open(path, encoding="utf-8") as text:
            self.given = json.load(text)
        self.name, self.ref, self.files = self.given["host"].split("#")[0], self.given["host"], self.given["files"]
        self.owner_keys, self.sequence = self.given.get("owner_keys", []), self.given["sequence"]
        with open(self.given["trust"], "rb") as document:
            self.trust_document = document.read()
        self.read_trust(json.loads(self.trust_document))

    def read_trust(self, trust):
        self.tenant, self.cap, self.threshold = trust["tenant"], trust["cap"]["C"], trust["thresholds"]["C"]
        self.silence = trust.get("silence", 900)
        if trust["dwell"] and self.owner_keys:
            print("# the trust file's dwell is %d s, so a good order would wait that long: owner_keys are not used. Enrol the host with a trust file"
                  " of --dwell 0 for the attacks that need them." % trust["dwell"], flush=True)
            self.owner_keys = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def log_text(self):
        return subprocess.run(self.given["read_log"], stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "replace")

    def take_server(self):
        import tree
        from kit import honest_signer
        state = self.given["server_state"]
        with sqlite3.connect("file:%s?mode=ro" % os.path.join(state, "server.db"), uri=True) as database:
            entries = [bytes(row[0]) for row in database.execute("SELECT entry FROM log_entry ORDER BY n")]
        return Evil(self.given["address"], self.given["port"], os.path.join(state, "server.pem"), os.path.join(state, "server.key"),
                    tree.Log(honest_signer(os.path.join(state, "log.key")), entries))
