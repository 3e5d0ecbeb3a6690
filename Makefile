# A thin front to meson and the scripts: `make help` lists what there is.
BUILD ?= build
JOBS ?= $(shell nproc)
MESON_ARGS ?=
SUMMARY ?= tests/check/summary

.PHONY: all setup run demo demo-fleet own-the-server test test-systemd test-packages test-proxy test-reboot test-attack test-benign bench bench-fleet deb test-deb install clean help

all: $(BUILD)/build.ninja ## build/portcullisd and build/portcullis
	@ninja -C $(BUILD) -j$(JOBS)

$(BUILD)/build.ninja: | setup
	@meson setup $(MESON_ARGS) $(BUILD)

setup: ## install the packages needed to build and test, when some are missing
	@tools/setup.sh

run: all ## guard a demo folder (or PROTECT=/srv/data), run a drill against it, go on guarding
	@BUILD=$(BUILD) tools/run.sh

demo: all ## the same story, then stop; status 0 only if all that was shown was verified
	@BUILD=$(BUILD) tools/run.sh --demo

demo-fleet: all ## three hosts, one server, three owners, explained; status 0 only if all that was shown was verified
	@PC_BUILD=$(abspath $(BUILD)) tools/demo-fleet

own-the-server: all ## play an attacker with root on the server, against real agents (needs root)
	@PC_BUILD=$(abspath $(BUILD)) tests/own-the-server/run

test: setup all ## the everyday tests
	@rm -f $(BUILD)/meson-logs/testlog.json
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --timeout-multiplier 3 --num-processes $(JOBS); status=$$?; \
	    $(SUMMARY) $(BUILD)/meson-logs/testlog.json && exit $$status

test-systemd: all ## a host whose init is systemd, in namespaces (needs root): units, services, scopes, restarts, upgrades
	@PC_BUILD=$(abspath $(BUILD)) tests/host/test_systemd.py

test-packages: all ## package.update with real apt and dpkg, in namespaces (needs root)
	@PC_BUILD=$(abspath $(BUILD)) tests/host/test_packages.py

test-proxy: all ## a host behind an HTTP proxy that also hangs and lies (needs root and tinyproxy)
	@PC_BUILD=$(abspath $(BUILD)) tests/host/test_proxy.py

test-reboot: all ## a host that is really rebooted, in QEMU (needs root, qemu-system-x86, debootstrap, Debian's archive)
	@PC_BUILD=$(abspath $(BUILD)) tests/host/test_reboot.py

test-attack: all ## every attack, on every file system (long; needs root)
	@tools/setup.sh --full
	@PC_BUILD=$(abspath $(BUILD)) tests/attack/run --all --fs xfs,ext4,btrfs --json $(BUILD)/attack.json; status=$$?; \
	    tests/lib/publish attack $(BUILD)/attack.json >docs/attack-matrix.md && exit $$status

test-benign: all ## every workload that may not be stopped (long; needs root)
	@tools/setup.sh --full
	@PC_BUILD=$(abspath $(BUILD)) tests/benign/run --all --fs xfs,ext4 --json $(BUILD)/benign.json; status=$$?; \
	    tests/lib/publish benign $(BUILD)/benign.json >docs/benign-workloads.md && exit $$status

bench: all ## none / ahead / on-open, alternated (long; needs root)
	@tools/setup.sh --full
	@PC_BUILD=$(abspath $(BUILD)) bench/run

bench-fleet: all ## the server with 15,000 simulated hosts (needs 16,000 descriptors)
	@PC_BUILD=$(abspath $(BUILD)) bench/fleet

deb: setup ## one Debian package of everything: dist/portcullis_VERSION_ARCH.deb
	@tools/deb

test-deb: deb ## that package, installed on a machine with systemd, in namespaces (needs root)
	@PC_BUILD=$(abspath $(BUILD)) tests/host/test_deb.py

install: all ## programs, manual pages, unit, completion (DESTDIR is respected)
	@meson install -C $(BUILD) --no-rebuild

clean: ## remove what was built
	@rm -rf $(BUILD) $(BUILD)-asan

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14
