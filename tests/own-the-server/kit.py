"""What an attack may use: the stolen server, the agents on its line, and eyes on the hosts to see whether anything ran.

Owns: making orders and signatures by hand (never with the product's own command line), delivering them, and the three ways to tell
how it ended: the host's signed answer, the host's own log, and the marker file that a script would have left.
"""
import base64
import hashlib
import json
import os
import subprocess
import tempfile
import time

import tree
from attacks import Owned
from evil import now, opened
from tree import b64


class Kit:
    def __init__(self, ground, evil):
        self.ground, self.evil = ground, evil
        self.cap, self.silence, self.sequence = ground.cap, ground.silence, ground.sequence
        self.markers = []
        self.stranger = os.path.join(tempfile.mkdtemp(prefix="own-the-server."), "stranger")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.stranger], check=True)

    # --- documents and signatures

    def me(self):
        return self.ground.ref

    def marker_path(self, marker):
        self.markers.append(marker)
        return os.path.join(self.ground.files, marker)

    def document(self, marker=None, action="script.run", params=None, hosts=None, class_="C", also=None, **changes):
        """The exact bytes of an order; unless told otherwise it leaves a marker file on the host when it runs."""
        marker = marker or "marker-%d" % (self.sequence + 1)
        if "sequence" not in changes:
            self.sequence += 1
        hosts = hosts or [self.me()]
        order = {"portcullis": "order/1", "id": os.urandom(16).hex(), "tenant": self.ground.tenant, "class": class_, "action": action,
                 "params": params or {"argv": ["/bin/touch", self.marker_path(marker)], "timeout": 30, "output": 4096},
                 "hosts": hosts, "count": len(hosts), "not_before": now(-60), "expires": now(3600), "sequence": self.sequence,
                 "says": "An attack of tests/own-the-server."}
        order.update(changes)
        order.update(also or {})
        return json.dumps(order).encode()

    def counting(self, marker):
        """Parameters of a script that writes one line each time it runs."""
        script = b"#!/bin/sh\necho ran >>%s\n" % self.marker_path(marker).encode()
        return {"script": b64(script), "sha256": hashlib.sha256(script).hexdigest(), "interpreter": ["/bin/sh"], "timeout": 30, "output": 4096}

    def count(self, marker):
        path = os.path.join(self.ground.files, marker)
        if not os.path.exists(path):
            return 0
        with open(path, encoding="ascii") as lines:
            return len(lines.readlines())

    @staticmethod
    def sign(key, document, namespace):
        done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key], input=document, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def signs(self, owner, document, namespace="order@portcullis"):
        return self.sign(self.ground.owner_keys[owner], document, namespace)

    def quorum(self, document):
        return [self.signs(n, document) for n in range(self.ground.threshold)]

    def stranger_signs(self, document, namespace="order@portcullis"):
        return self.sign(self.stranger, document, namespace)

    # --- delivery

    def agent(self):
        return self.evil.agent(self.ground.name)

    def bundle(self, document, signatures, **changes):
        return self.evil.bundle(self.agent(), document, signatures, **changes)

    def deliver(self, agent, bundle, document, verdict):
        """Sends a bundle; the host's ack for that document, which must have that verdict."""
        digest = hashlib.sha256(document).hexdigest()
        agent.send("bundle", bundle)
        ack = agent.wait("ack", lambda a: a["order_sha256"] == digest and a["verdict"] == verdict)
        if not ack:
            raise Owned("no ack \"%s\" from the host; it sent %s" % (verdict, [k for k, _ in agent.frames]))
        return ack

    def refused(self, bundle, document, *words, markers=None):
        """Delivers; the host must refuse with one of these words, say so in its log, and run nothing."""
        ack = self.deliver(self.agent(), bundle, document, "refused")
        if ack["why"] not in words:
            raise Owned("refused by check %s, expected %s: %s" % (ack["why"], " or ".join(words), ack["text"]))
        self.ground.said(15, "check %s:" % ack["why"], *([hashlib.sha256(document).hexdigest()[:12]] if ack["why"] != "syntax" else []))
        self.nothing_ran(markers=markers)
        return "refused by check %s" % ack["why"]

    def ends(self, bundle, document, seconds=30):
        """Delivers an order that is expected to be accepted; its result."""
        digest = hashlib.sha256(document).hexdigest()
        agent = self.agent()
        agent.send("bundle", bundle)
        ack = agent.wait("ack", lambda a: a["order_sha256"] == digest)
        if not ack or ack["verdict"] != "accepted":
            return {"outcome": "refused", "output": b64(json.dumps(ack).encode())}
        result = agent.wait("result", lambda r: r.get("order_sha256") == digest, seconds)
        if not result:
            raise Owned("no result within %d s" % seconds)
        return result

    def runs(self, bundle, document):
        """The control: a good order over the same channel does run."""
        result = self.ends(bundle, document)
        if result["outcome"] != "ok":
            raise Owned("a good order did not run: %s %s: the channel is broken, so refusals prove nothing" % (result["outcome"], self.output(result)))
        return result

    @staticmethod
    def output(result):
        return base64.b64decode(result.get("output", "")).decode("utf-8", "replace").strip()

    def still_obeys(self):
        """After an attack: a good order runs (so the host was not broken into silence); without owners' keys, a look is answered."""
        if len(self.ground.owner_keys) < self.ground.threshold:
            return self.still_answers()
        marker = "control-%d" % (self.sequence + 1)
        document = self.document(marker=marker)
        self.markers.remove(marker)
        self.runs(self.bundle(document, self.quorum(document)), document)
        if not os.path.exists(os.path.join(self.ground.files, marker)):
            raise Owned("the host says that a good order ran, but it left no trace")
        self.nothing_ran()
        return "the host still obeys its owners"

    def still_answers(self):
        """Asked again for a while: the host may be dropping the attack's line as this begins, or have answered its looks of this second."""
        until, result = time.monotonic() + 75, None
        while not result or result["outcome"] != "ok":
            if time.monotonic() > until:
                raise Owned("the host does not answer a look: %s" % result)
            agent, look = self.agent(), os.urandom(16).hex()
            agent.send("look", {"look": look, "action": "metrics", "params": {}})
            time.sleep(1)
            result = agent.wait("result", lambda r, look=look: r.get("look") == look, seconds=5)
        self.nothing_ran()
        return "the host still answers (no owners' keys here for a good order)"

    def nothing_ran(self, _digest=None, markers=None):
        time.sleep(0.3)
        for marker in markers or self.markers:
            if marker.startswith(("replayed", "newer")):
                continue
            if os.path.exists(os.path.join(self.ground.files, marker)):
                raise Owned("%s exists: it ran" % marker)
        return "nothing ran"

    def said(self, *words, seconds=15, ever=False):
        self.ground.said(seconds, *words, ever=ever)

    def reconnects(self, agent):
        """The host drops this connection and comes back."""
        until = time.monotonic() + 60
        while agent.alive:
            if time.monotonic() > until:
                raise Owned("the host keeps the connection")
            time.sleep(0.05)
        self.agent()

    def memory(self):
        return self.ground.memory()

    def accepted_tree(self):
        """Makes sure that the host has accepted a tree of several entries; its size."""
        for _ in range(2):
            self.evil.log.append(b'{"portcullis":"entry/1","tenant":"%s","type":"refusal","time":"%s","body":{}}' % (self.ground.tenant.encode(), now().encode()))
        agent = self.agent()
        size = len(self.evil.log.entries)
        agent.send("checkpoint", {"checkpoint": self.evil.log.checkpoint(), "from": agent.seen(), "consistency": self.evil.log.consistency(agent.seen())})
        if not agent.wait("seen", lambda s: s["checkpoint_size"] >= size):
            raise Owned("the host does not accept an honest checkpoint")
        return size

    # --- rings

    def two_rings(self):
        """An order with this host in its second ring."""
        document = self.document(hosts=["other#" + "1" * 32, self.me()], rings=[{"hosts": 1, "soak": 5}, {"hosts": 1, "soak": 5}],
                                 halt={"failures": 0, "incidents": 0})
        return document, hashlib.sha256(document).hexdigest()

    def send_continue(self, agent, digest, reports):
        chain = hashlib.sha256(b"".join(hashlib.sha256(opened(r)).digest() for r in reports)).hexdigest()
        entry = {"portcullis": "entry/1", "tenant": self.ground.tenant, "type": "continue", "time": now(),
                 "body": {"order_sha256": digest, "run": 0, "ring": 1, "count": len(reports), "reports": chain}}
        index = self.evil.log.append(json.dumps(entry).encode())
        body = {"order_sha256": digest, "run": 0, "ring": 1, "reports": [{"envelope": r} for r in reports]}
        body.update(self.evil.log.proven(index, agent.seen()))
        agent.send("continue", body)

    # --- what only the whole fleet can show

    def evil_trust(self):
        trust = json.loads(self.ground.trust_document)
        with open(self.stranger + ".pub", encoding="ascii") as public:
            key = " ".join(public.read().split()[:2])
        trust["version"] += 1
        trust["owners"] = [{"name": "mallory", "key": key, "classes": ["B", "C", "S", "T"]}]
        trust["thresholds"] = {"B": 1, "C": 1, "S": 1, "T": 1}
        return json.dumps(trust).encode()

    def first_trust(self):
        return {"document": b64(self.ground.trust_document), "signatures": [self.signs(n, self.ground.trust_document, "trust@portcullis")
                                                                           for n in range(self.ground.threshold)]}

    def next_trust(self):
        """Version 2 by the owners themselves: the same but for its number."""
        trust = json.loads(self.ground.trust_document)
        trust["version"] += 1
        document = json.dumps(trust).encode()
        return {"document": b64(document), "signatures": [self.signs(n, document, "trust@portcullis") for n in range(self.ground.threshold)]}

    def evil_revocation(self):
        trust = json.loads(self.ground.trust_document)
        owner = trust["owners"][0]
        blob = base64.b64decode(owner["key"].split()[1])
        fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        return json.dumps({"portcullis": "revoke/1", "tenant": self.ground.tenant, "owner": owner["name"], "key": fingerprint, "created": now(),
                           "reason": "stolen (says the attacker)"}).encode()

    def serve_file(self, content):
        return self.ground.serve_file(content)

    def stop_by_hand(self):
        return self.ground.stop_by_hand(self)

    def mirror_lies(self):
        return self.ground.mirror_lies()

    def hijack_enrolment(self):
        return self.ground.hijack_enrolment(self)

    def forge_result(self):
        return self.ground.forge_result(self)


def honest_signer(path):
    with open(path, encoding="ascii") as secret:
        return tree.Signer(secret=secret.read())
