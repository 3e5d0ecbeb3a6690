"""What the owner of a stolen server can try, one function an attack. Each is really attempted on a real agent.

Owns: the list of attacks: which bytes go over which channel, and which check must refuse them. Must not: start or stop
programs (run does), or share code with the product. An attack returns what happened, in words; it raises when something
ran, or when nothing said that it was refused.
"""
import base64
import json
import os
import struct
import time

import tree
from evil import now, opened
from tree import b64

ATTACKS = []


class Owned(Exception):
    """The attack worked: something ran, or nobody said that it was refused."""


def attack(source, needs_quorum=True):
    """Registers an attack. source: "TUF" for the ten of its specification, "ours" for the rest."""
    def register(function):
        ATTACKS.append({"name": function.__name__.replace("_", "-"), "run": function, "source": source, "quorum": needs_quorum,
                        "what": " ".join(function.__doc__.split())})
        return function
    return register


# --- arbitrary orders

@attack("TUF", needs_quorum=False)
def arbitrary_software(kit):
    """The attacker signs an order of its own with its own key and logs it properly."""
    document = kit.document()
    return kit.refused(kit.bundle(document, [kit.stranger_signs(document)]), document, "signature")


@attack("ours", needs_quorum=False)
def unsigned(kit):
    """An order without any approval, properly logged."""
    document = kit.document()
    return kit.refused(kit.bundle(document, []), document, "quorum", "syntax")


@attack("ours")
def under_quorum(kit):
    """One owner's approval where two are needed."""
    document = kit.document()
    return kit.refused(kit.bundle(document, [kit.signs(0, document)]), document, "quorum")


@attack("TUF")
def key_compromise_below_threshold(kit):
    """One owner's key is stolen; the attacker approves with it and with a key of its own."""
    document = kit.document()
    return kit.refused(kit.bundle(document, [kit.signs(0, document), kit.stranger_signs(document)]), document, "signature")


@attack("ours")
def same_owner_twice(kit):
    """Two different signatures by one owner (ECDSA is randomised) counted as two."""
    document = kit.document()
    return kit.refused(kit.bundle(document, [kit.signs(1, document), kit.signs(1, document)]), document, "quorum", "syntax")


@attack("ours")
def wrong_namespace(kit):
    """An owner's signature over the same bytes made for another purpose."""
    document = kit.document()
    return kit.refused(kit.bundle(document, [kit.signs(0, document, "file"), kit.signs(1, document, "file")]), document, "signature")


@attack("TUF")
def extraneous_dependencies(kit):
    """A package added to an approved update."""
    document = kit.document(action="package.update", params={"security": True, "timeout": 600})
    signatures = kit.quorum(document)
    changed = document.replace(b'"security": true', b'"security": true, "packages": ["xmr-miner"]')
    return kit.refused(kit.bundle(changed, signatures), changed, "signature")


@attack("ours")
def parameter_change(kit):
    """One byte of an approved order changed."""
    document = kit.document(marker="approved-one")
    signatures = kit.quorum(document)
    changed = document.replace(b"approved-one", b"approved-two")
    return kit.refused(kit.bundle(changed, signatures), changed, "signature", markers=("approved-one", "approved-two"))


@attack("ours")
def unknown_key_in_order(kit):
    """An approved order with a key that no host knows: it might mean something to somebody else."""
    document = kit.document(also={"force": True})
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "syntax")


@attack("ours")
def class_confusion(kit):
    """A script dressed up as a stop, which one owner alone may approve."""
    document = kit.document(class_="S")
    return kit.refused(kit.bundle(document, [kit.signs(0, document)]), document, "class")


@attack("ours")
def too_many_hosts(kit):
    """More hosts than the owners' cap, approved or not."""
    hosts = [kit.me()] + ["h%d#%032x" % (n, n) for n in range(1, kit.cap + 1)]
    document = kit.document(hosts=hosts)
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "cap")


# --- orders for somebody else, some other time, once more

@attack("ours")
def retarget_to_another_host(kit):
    """An approved order delivered to a host that it does not name."""
    document = kit.document(hosts=["web9#" + "9" * 32])
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "not-me")


@attack("ours")
def retarget_by_name(kit):
    """An approved order with this host's name and another's identity: the server lied about which machine has the name."""
    document = kit.document(hosts=[kit.me().split("#")[0] + "#" + "9" * 32])
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "not-me")


@attack("ours")
def retarget_to_another_tenant(kit):
    """The same owners approved it for another tenant."""
    document = kit.document(tenant="town")
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "tenant")


@attack("ours")
def replay(kit):
    """An order that ran is delivered again, and again with a newer log entry."""
    document = kit.document(action="script.run", params=kit.counting("replayed"))
    signatures = kit.quorum(document)
    kit.runs(kit.bundle(document, signatures), document)
    for _ in range(3):
        kit.agent().send("bundle", kit.bundle(document, signatures))
    time.sleep(2)
    if kit.count("replayed") != 1:
        raise Owned("it ran %d times" % kit.count("replayed"))
    return "delivered 4 times, ran once"


@attack("ours")
def expired(kit):
    """An approved order whose time is over."""
    document = kit.document(not_before=now(-7200), expires=now(-3600))
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "expired")


@attack("ours")
def future(kit):
    """An approved order for tomorrow, delivered today."""
    document = kit.document(not_before=now(86400), expires=now(90000))
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "future")


@attack("ours")
def lower_sequence(kit):
    """An approved order that the owners superseded by a later one, kept back until now."""
    old = kit.document(marker="old")
    signatures = kit.quorum(old)
    newer = kit.document(marker="newer")
    kit.runs(kit.bundle(newer, kit.quorum(newer)), newer)
    return kit.refused(kit.bundle(old, signatures), old, "sequence", markers=("old",))


@attack("ours")
def sequence_gap(kit):
    """An approved order whose number would shut out every later one."""
    document = kit.document(sequence=kit.sequence + 10_000_000)
    return kit.refused(kit.bundle(document, kit.quorum(document)), document, "sequence-gap")


# --- the log

@attack("ours")
def unlogged_order(kit):
    """An approved order that is in no log."""
    document = kit.document()
    bundle = kit.bundle(document, kit.quorum(document), entry=None, index=None, proof=None, checkpoint=None, **{"from": None, "consistency": None})
    return kit.refused(bundle, document, "log", "syntax")


@attack("TUF")
def mix_and_match(kit):
    """One order with another's entry and proof."""
    logged, document = kit.document(marker="logged"), kit.document()
    index = kit.evil.log_order(logged, kit.quorum(logged))
    return kit.refused(kit.bundle(document, kit.quorum(document), index=index), document, "log")


@attack("ours")
def logged_with_fewer_approvals(kit):
    """The entry in the log names one approval, the bundle carries two: the log would not show who started it."""
    document = kit.document()
    signatures = kit.quorum(document)
    index = kit.evil.log_order(document, signatures[:1])
    return kit.refused(kit.bundle(document, signatures, index=index), document, "log")


@attack("ours")
def wrong_log_key(kit):
    """A checkpoint signed with another key under the log's name."""
    document = kit.document()
    signatures = kit.quorum(document)
    log = kit.evil.log.fork(len(kit.evil.log.entries))
    log.signer = tree.Signer(name=kit.evil.log.signer.name)
    index = kit.evil.log_order(document, signatures, log=log)
    return kit.refused(kit.bundle(document, signatures, index=index, log=log), document, "log")


@attack("ours")
def split_view(kit):
    """Another history, signed with the real log key, from before what the host saw."""
    seen = kit.accepted_tree()
    log = kit.evil.log.fork(seen - 1)
    log.append(b'{"another": "history"}')
    document = kit.document()
    signatures = kit.quorum(document)
    index = kit.evil.log_order(document, signatures, log=log)
    said = kit.refused(kit.bundle(document, signatures, index=index, log=log), document, "consistency")
    kit.said("evidence")
    return said + "; both checkpoints kept as evidence"


@attack("TUF")
def rollback(kit):
    """A smaller tree than the host has seen, with a valid signature."""
    seen = kit.accepted_tree()
    log = kit.evil.log.fork(max(1, seen - 2))
    document = kit.document()
    signatures = kit.quorum(document)
    index = kit.evil.log_order(document, signatures, log=log)
    return kit.refused(kit.bundle(document, signatures, index=index, log=log), document, "consistency")


@attack("TUF")
def fast_forward(kit):
    """A checkpoint of an enormous tree, so that every honest one would look old for ever."""
    kit.accepted_tree()
    agent = kit.agent()
    text = "%s\n%d\n%s\ntime %d\n" % (kit.evil.log.signer.name, 1 << 60, b64(os.urandom(32)), int(time.time()))
    agent.send("checkpoint", {"checkpoint": kit.evil.log.signer.note(text), "from": agent.seen(), "consistency": [b64(os.urandom(32))] * 40})
    kit.said("check consistency: checkpoint")
    return kit.still_obeys()


@attack("TUF")
def freeze(kit):
    """The newest checkpoint for ever: nothing new may happen, not even a veto. (Also: the server withholds a stop.)"""
    agent = kit.agent()
    old = kit.evil.log.checkpoint(when=int(time.time()) - 3600)
    agent.send("checkpoint", {"checkpoint": old, "from": agent.seen(), "consistency": kit.evil.log.consistency(agent.seen())})
    kit.said("silence", seconds=kit.silence + 30)
    return "the host says that it hears nothing new"


@attack("ours")
def withheld_stop(kit):
    """Silence while the owners call for a stop; the owners carry it by hand instead."""
    kit.said("silence", seconds=kit.silence + 30, ever=True)
    return kit.stop_by_hand()


@attack("TUF", needs_quorum=False)
def malicious_mirror(kit):
    """The log's public copy is changed: an owner who verifies the whole log must notice."""
    return kit.mirror_lies()


# --- rings

@attack("ours")
def ring_skipped(kit):
    """A host of the second ring is told to start; no host of the first has reported."""
    document, digest = kit.two_rings()
    agent = kit.agent()
    kit.deliver(agent, kit.bundle(document, kit.quorum(document)), document, "accepted")
    kit.send_continue(agent, digest, [])
    kit.said("check ring:", digest[:12])
    return kit.nothing_ran(digest)


@attack("ours")
def ring_reports_forged(kit):
    """The same with reports signed by a key of the attacker's."""
    document, digest = kit.two_rings()
    agent = kit.agent()
    kit.deliver(agent, kit.bundle(document, kit.quorum(document)), document, "accepted")
    report = {"portcullis": "ring/1", "tenant": kit.ground.tenant, "host": json.loads(document)["hosts"][0], "order_sha256": digest, "run": 0, "ring": 0,
              "outcome": "ok", "incidents": 0, "started": now(-60), "ended": now(-50), "soaked": now(-10)}
    forger = tree.Signer(name="forger")
    kit.send_continue(agent, digest, [forger.host_envelope("ring", json.dumps(report).encode())])
    kit.said("check ring:", digest[:12])
    return kit.nothing_ran(digest)


# --- programs and trust

@attack("TUF")
def wrong_software(kit):
    """An approved upgrade, but the server hands out another program."""
    document = kit.document(action="agent.upgrade", params={"version": "99.0.0", "sha256": "ab" * 32, "url_path": "/agent/99.0.0"})
    kit.serve_file(b"#!/bin/sh\ntouch " + kit.marker_path("pwned").encode() + b"\n")
    result = kit.ends(kit.bundle(document, kit.quorum(document)), document)
    if result["outcome"] == "ok":
        raise Owned("the host took a program with another hash")
    return "result %s: %s" % (result["outcome"], kit.output(result)[:120])


@attack("ours")
def upgrade_to_an_older_agent(kit):
    """An approved upgrade to a version with known holes."""
    document = kit.document(action="agent.upgrade", params={"version": "0.0.1", "sha256": "ab" * 32, "url_path": "/agent/0.0.1"})
    result = kit.ends(kit.bundle(document, kit.quorum(document)), document)
    if result["outcome"] == "ok":
        raise Owned("the host went back to an older program")
    return "result %s: %s" % (result["outcome"], kit.output(result)[:120])


@attack("ours")
def trust_file_swap(kit):
    """A trust file with the attacker as the only owner, higher version, signed by the attacker, and by one owner."""
    document = kit.evil_trust()
    for signatures in ([kit.stranger_signs(document, "trust@portcullis")], [kit.signs(0, document, "trust@portcullis")]):
        kit.agent().send("trust", {"document": b64(document), "signatures": signatures})
        kit.said("check quorum: trust file")
        kit.ground.begin()
    mine = kit.document()
    return kit.refused(kit.bundle(mine, [kit.stranger_signs(mine)]), mine, "signature")


@attack("ours")
def trust_file_rollback(kit):
    """The trust file that the owners have replaced, with its good signatures, once more."""
    kit.agent().send("trust", kit.next_trust())
    kit.said("trust file version 2")
    kit.agent().send("trust", kit.first_trust())
    kit.said("check version: trust file")
    return kit.still_obeys()


@attack("ours", needs_quorum=False)
def revocation_forged(kit):
    """The attacker revokes an owner's key, to make the quorum unreachable."""
    document = kit.evil_revocation()
    kit.agent().send("revoke", {"document": b64(document), "signatures": [kit.stranger_signs(document, "revoke@portcullis")]})
    kit.said("check quorum: revocation")
    return kit.still_obeys()


# --- the wire

@attack("TUF", needs_quorum=False)
def endless_data(kit):
    """A frame that says it is 4 GiB long, and one that never ends."""
    agent = kit.agent()
    agent.raw(struct.pack(">IB", 0xffffffff, 3) + b"{" * 65536)
    kit.reconnects(agent)
    agent = kit.agent()
    agent.raw(struct.pack(">IB", 2 << 20, 3))
    for _ in range(40):
        agent.raw(b" " * 65536)
    kit.reconnects(agent)
    return kit.still_obeys() + kit.memory()


@attack("ours", needs_quorum=False)
def malformed_everything(kit):
    """Every frame type with garbage, deep nesting, duplicate keys, wrong types, huge numbers, bad UTF-8."""
    bodies = [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"{\"order\":1}", b"{\"order\":{},\"order\":{}}", b"{\"a\":" * 2000, b"[" * 60000,
              b'{"order":{"document":"!!","signatures":[]}}', b'{"index":1e999,"order":{}}', b'{"index":-1}', b'{"checkpoint":"\\u0000"}',
              json.dumps({"checkpoint": "\u2014" * 5000, "from": 2 ** 53, "consistency": ["AA=="] * 5000}).encode(), os.urandom(4000)]
    tried = 0
    for kind in list(range(0, 20)) + [255]:
        for body in bodies:
            try:
                kit.agent().send(kind, body)
                tried += 1
            except TimeoutError as error:
                raise Owned("after frame %d with %r: %s" % (kind, body[:40], error)) from error
    return kit.still_obeys() + "; %d malformed frames" % tried


@attack("ours")
def output_flood(kit):
    """An approved script whose output never ends."""
    document = kit.document(params={"argv": ["/bin/cat", "/dev/zero"], "timeout": 5, "output": 65536})
    result = kit.ends(kit.bundle(document, kit.quorum(document)), document, seconds=40)
    kept = base64.b64decode(result["output"])
    if len(kept) > 65536 or not result["truncated"]:
        raise Owned("kept %d bytes, truncated %s" % (len(kept), result["truncated"]))
    return "outcome %s, %d bytes kept, truncated" % (result["outcome"], len(kept)) + kit.memory()


@attack("ours", needs_quorum=False)
def look_flood(kit):
    """Ten thousand questions a second: the host answers at its own pace, and looks never change anything."""
    agent = kit.agent()
    for n in range(2000):
        agent.send("look", {"look": "%032x" % n, "action": "metrics", "params": {}})
    agent.send("look", {"look": "f" * 32, "action": "script.run", "params": {"argv": ["/bin/touch", kit.marker_path("looked")]}})
    time.sleep(5)
    answered = sum(1 for kind, body in agent.frames if kind == "result" and json.loads(opened(body)).get("outcome") == "ok")
    if os.path.exists(kit.marker_path("looked")):
        raise Owned("a look ran a program")
    if answered > 60:
        raise Owned("%d looks answered in 5 s" % answered)
    return "%d of 2,000 answered, the rest refused" % answered


@attack("ours", needs_quorum=False)
def enrolment_hijack(kit):
    """With the server's database and a token: another machine enrolled under this host's name, to get its orders and answer for it."""
    return kit.hijack_enrolment()


@attack("ours")
def forged_result(kit):
    """The server says that an order succeeded on a host where it never ran; the owners' `order status` and `log verify` must not believe it."""
    return kit.forge_result()
