# make run: try jobqueued here, without root. make page: its page in a browser. make test: all tests. CONTRIBUTING.md lists
# the other targets.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PREFIX ?= /usr
PYTHONDIR ?= $(PREFIX)/lib/python3/dist-packages

.PHONY: run page test lint units native generate docs bench bench-quick browser system twin soak mutants faults realcron chaos chaos-breaks fleet fleet-demo fleet-chaos fleet-scenes fleet-lives fleet-breaks slurm simulation longrun power power-breaks deb deb-check rpm install install-files uninstall clean

run: $(VENV)/.installed
	@mkdir -p var
	@exec $(BIN)/jobqueued --root var --config etc/jobqueued.yaml --jobs etc/jobqueue.d --log text

# Serve the page of the daemon of `make run` until Ctrl-C, with Debian's cockpit-ws and cockpit-bridge. The page has no login:
# any user of this host can open it and act as you.
PORT ?= 9091
COCKPIT_WS ?= /usr/lib/cockpit/cockpit-ws
page:
	@test -S var/run/control || { echo "no daemon runs here; in another terminal, first type: make run" >&2; exit 1; }
	@test -x $(COCKPIT_WS) || { echo "$(COCKPIT_WS) is missing; to install it: apt install cockpit-ws cockpit-bridge" >&2; exit 1; }
	@rm -rf build/page && mkdir -p build/page/cockpit && cp -r cockpit build/page/cockpit/jobqueued
	@sed -i 's,"/run/jobqueue,"$(CURDIR)/var/run,' build/page/cockpit/jobqueued/varlink.js build/page/cockpit/jobqueued/manifest.json
	@echo "http://127.0.0.1:$(PORT)/cockpit/@localhost/jobqueued/index.html"
	@XDG_DATA_HOME="$(CURDIR)/build/page" exec $(COCKPIT_WS) --no-tls -a 127.0.0.1 -p $(PORT) --local-session=cockpit-bridge

# More workers than CPUs, because half of the tests wait most of the time. To run some tests: `make test TESTS=tests/pure`.
WORKERS = $(shell expr $$(nproc) + 2)
test: $(VENV)/.tested
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: $(VENV)/.linted units
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/support/budget.py
	! LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z man/*.[1-9] 2>&1 >/dev/null | grep .
	! mandoc -T lint -W style man/*.[1-9] 2>/dev/null | grep -v 'referenced manual not found'

# Check our units, and the units in docs/metrics.md. Any output of systemd-analyze is a failure, because it exits 0 even if a
# setting is unknown.
units:
	t=$$(mktemp -d) && trap "rm -r $$t" EXIT && mkdir $$t/user && export XDG_RUNTIME_DIR=$$t && \
	for unit in systemd/jobqueue* systemd/user/*; do \
		sed 's,=/usr/bin/jobqueue[a-z]*,=/usr/bin/true,' $$unit >$$t/$${unit#systemd/}; done && \
	sed '/^```ini/,/^```$$/!d; /^```/d; s,=/usr/bin/jobqueue[a-z]*,=/usr/bin/true,' docs/metrics.md >$$t/jobqueued-metrics.service && \
	! systemd-analyze verify --man=no $$t/jobqueue* 2>&1 | grep . && \
	! systemd-analyze --user verify --man=no $$t/user/* 2>&1 | grep .

# Write the generated files: the JSON Schemas, and parts of the manual pages and docs (man/generate.py).
generate: $(VENV)/.installed
	$(BIN)/python -m man.generate

# Write docs/, the varlink interface and the library's reference as HTML: build/html/index.html. SPHINX=/usr/bin/sphinx-build
# uses Debian's python3-sphinx, python3-myst-parser and libraries.
SPHINX ?= $(BIN)/sphinx-build
docs: $(if $(filter $(BIN)/%,$(SPHINX)),$(VENV)/.documented)
	PYTHONPATH=. $(SPHINX) --quiet --fail-on-warning --keep-going docs build/html

# Measure, and compare with the targets; as root, also measure other schedulers, which are downloaded (an hour for each round).
# PEERS: names of schedulers, and options.
PEERS ?= --rounds 1
bench: $(VENV)/.tested
	$(BIN)/python -m bench
	[ "$$(id -u)" != 0 ] || $(BIN)/python -m bench.peers $(PEERS)

# Fail if a cost is more than 1.3 times the cost when its bound was set. This takes less than a minute.
bench-quick: $(VENV)/.tested
	$(BIN)/python -m bench.quick

# Long tests: every clock change of every zone since 1970 (ten minutes), random events for the queue (ten minutes or longer),
# every run of a supervisor, 10,000 submissions of one user, simulated lives of a host (hours), whether these lives find
# broken programs, and mutants of the core. All parts run, even if one fails.
soak: $(VENV)/.tested
	@failed=; \
	JOBQUEUED_SOAK=1 $(BIN)/python -m pytest tests/pure/timing/test_zones.py tests/pure/core/test_machine.py \
		tests/pure/core/fleet/test_fleet.py tests/pure/core/fleet/test_fleet_memory.py tests/real/child/test_supervisor.py tests/real/control/test_submissions.py || failed="$$failed tests"; \
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) || failed="$$failed simulation"; \
	$(BIN)/python -m tests.simulation.mutants || failed="$$failed simulation.mutants"; \
	$(BIN)/python -m tests.mutants --sample $(SAMPLE) --seed $(SEED) || failed="$$failed mutants"; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# Change single statements in the queue and the core; a test must notice each change. SAMPLE: number of random changes
# (minutes), or 0 for all (hours).
SAMPLE ?= 600
mutants: $(VENV)/.tested
	$(BIN)/python -m tests.mutants --sample $(SAMPLE) --seed $(SEED)

# Let I/O fail at each call, in each possible way (minutes). NTH=6: only at each sixth call.
NTH ?= 1
faults: $(VENV)/.tested
	JOBQUEUED_FAULTS=$(NTH) $(BIN)/python -m pytest -n 4 --dist worksteal tests/real/days/test_faults.py tests/real/notices/test_notice_crash_points.py tests/real/runs/test_killed_starts.py

# As root, compare our due times with the real Debian cron and cronie, which are downloaded but not installed. --write writes
# docs/dev/realcron.md.
realcron: $(VENV)/.installed
	$(BIN)/python -m tests.realcron

# Simulate whole lives of a host in one process, one life for each seed (docs/dev/simulation.md).
SEEDS ?= 1-10000
simulation: $(VENV)/.tested
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# As root, run bad days, and check them with the notes that the jobs wrote (docs/dev/chaos.md). DAY: more options, such as
# --markdown FILE.
MINUTES ?= 10
SEED ?= 1
chaos: $(VENV)/.tested
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED) $(DAY)

# Check that a short bad day finds bugs that were added on purpose.
chaos-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.chaos.breaks

# Run three daemons and three etcd members while hosts, network and etcd fail (docs/dev/fleet-chaos.md). `make fleet` needs
# root and ten minutes, and also types the commands in docs/fleet-setup.md. FLEET: more options, such as --pause 3, or
# --only "answers".
fleet: $(VENV)/.tested
	$(BIN)/python -m tests.fleet --minutes 1.8 --pause 4 --seed $(SEED) $(FLEET)
	$(BIN)/python -m tests.fleet.scenes
	$(BIN)/python -m tests.fleet.demo
	$(BIN)/python -m tests.fleet.setup

# Run the demonstration in docs/dev/fleet-demo.md. DEMO=--write writes its output to that page.
DEMO ?=
fleet-demo: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.demo $(DEMO)

fleet-chaos: $(VENV)/.tested
	$(BIN)/python -m tests.fleet --minutes $(MINUTES) --pause 4 --seed $(SEED) $(FLEET)

fleet-scenes: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.scenes

# Test runs on Slurm (docs/slurm.md) with Debian's slurm-wlm, a controller and three nodes. This takes three minutes.
slurm: $(VENV)/.tested
	$(BIN)/python -m pytest tests/slurm

# Run hosts with a simulated clock, one life for each seed, until OCCURRENCES have run.
OCCURRENCES ?= 1000000
fleet-lives: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.lives --occurrences $(OCCURRENCES) --first $(SEED)

fleet-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.breaks

# Start N runs as real processes: each must start once, and the daemon must not grow. A million runs take 40 minutes on two
# idle CPUs; N=20000 takes less than a minute. LONGRUN: more arguments.
N ?= 1000000
RATE ?= 400
longrun: $(VENV)/.tested
	$(BIN)/python -m tests.longrun --runs $(N) --rate $(RATE) $(LONGRUN)

# As root, simulate a power loss at each write: the daemon must start from each image of the disk.  `make power IMAGES=40 SEED=7`
IMAGES ?= 600
power: $(VENV)/.tested
	$(BIN)/python -m tests.power --images $(IMAGES) --seed $(SEED)
	$(BIN)/python -m tests.power.damaged

# Check that some images find bugs that were added on purpose.
power-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.power.breaks

# Test the pages in Chromium without a screen. PICTURES=docs writes the images in docs.
PICTURES ?=
PAGES ?= tests/browser
browser: $(VENV)/.tested build/axe/.fetched
	JOBQUEUED_PICTURES=$(PICTURES) $(BIN)/python -m pytest $(PAGES)

# axe-core, which finds barriers for users with disabilities, from another project's package.
build/axe/.fetched: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/axe axe-playwright-python
	touch $@

# Run each test file in a separate virtual machine, two at a time. A line "# vm-run: …" in a test file has options of vm-run.
SYSTEM = $(wildcard tests/system/test_*.py)
system:
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(SYSTEM:%=vm/%)

vm/%:
	tests/system/vm-run $$(sed -n 's/^# vm-run: //p' $*) $(LIMIT) -- $(ENV) python3 -m pytest -p no:cacheprovider -v $*

# Compare all starts of two weeks with the real cron's in the virtual machine, not only those of rare lines (hours).
twin: LIMIT = --timeout 20000
twin: ENV = env JOBQUEUED_TWIN=1
twin: vm/tests/system/test_twin.py

# The packages are built outside the virtual machine, which has no network. It also gets cron, to test the way back.
vm/tests/system/test_package.py: build/deb/.with-cron

build/deb/.with-cron: deb
	cd build/deb && apt-get -q -o APT::Sandbox::User=root download cron
	touch $@

define SCRIPT
#!/usr/bin/python3 -I
import sys

from $(1) import main

sys.exit(main())
endef

# Install without a package. Existing settings remain.
install: install-files
	find jobqueued -name '*.py' -exec install -Dm644 '{}' '$(DESTDIR)$(PYTHONDIR)/{}' ';'
	install -Dm644 -t $(DESTDIR)$(PYTHONDIR)/jobqueued/ctl/chart/page jobqueued/ctl/chart/page/*
	test ! -x jobqueued/child/start/become || install -D -t $(DESTDIR)$(PYTHONDIR)/jobqueued/child/start jobqueued/child/start/become
	/usr/bin/python3 -m compileall -q $(if $(DESTDIR),-s $(DESTDIR)) $(DESTDIR)$(PYTHONDIR)/jobqueued

# Install everything except the modules, which each package installs in its own way.
install-files: export JOBQUEUED = $(call SCRIPT,jobqueued.__main__)
install-files: export JOBQUEUECTL = $(call SCRIPT,jobqueued.ctl.main)
install-files: export FENCE = $(call SCRIPT,jobqueued.child.fleet.fence)
install-files: export CRONTAB = $(call SCRIPT,jobqueued.ctl.crontab.crontab)
install-files: export AT = $(call SCRIPT,jobqueued.ctl.act.at)
install-files:
	install -d $(DESTDIR)/etc/jobqueue.d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/jobqueued
	test -e $(DESTDIR)/etc/jobqueued.yaml || install -m644 etc/jobqueued.yaml $(DESTDIR)/etc
	program() { rm -f "$$2" && echo "$$1" >"$$2" && chmod 755 "$$2"; } && \
	program "$$JOBQUEUED" $(DESTDIR)$(PREFIX)/bin/jobqueued && \
	program "$$JOBQUEUECTL" $(DESTDIR)$(PREFIX)/bin/jobqueuectl && \
	program "$$FENCE" $(DESTDIR)$(PREFIX)/bin/jobqueue-fence && \
	program "$$CRONTAB" $(DESTDIR)$(PREFIX)/lib/jobqueued/crontab && \
	for name in at atq atrm batch; do program "$$AT" $(DESTDIR)$(PREFIX)/lib/jobqueued/$$name || exit; done
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/jobqueued jobqueued/*.schema.json packaging/jobqueued-forecast.yaml
	sed -i 's,/usr/bin/jobqueue,$(PREFIX)/bin/jobqueue,' $(DESTDIR)$(PREFIX)/share/jobqueued/jobqueued-forecast.yaml
	for page in man/*.[1-9]; do install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man$${page##*.} $$page; done
	install -Dm644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system systemd/jobqueue*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/lib/systemd/user systemd/user/*
	sed -i 's,/usr/lib/python3/dist-packages,$(PYTHONDIR),; s,/usr/bin/jobqueue,$(PREFIX)/bin/jobqueue,' \
		$(DESTDIR)$(PREFIX)/lib/systemd/*/jobqueued*.service
	install -Dm644 -t $(DESTDIR)$(PREFIX)/lib/sysusers.d systemd/sysusers.d/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/lib/tmpfiles.d systemd/tmpfiles.d/*
	install -Dm644 completion/jobqueuectl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/jobqueuectl
	install -Dm644 completion/jobqueuectl.zsh $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_jobqueuectl
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d completion/jobqueuectl.fish
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/cockpit/jobqueued cockpit/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued README.md CHANGELOG.md docs/*.md
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/dev docs/dev/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/metrics docs/metrics/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/timeline docs/timeline/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/cockpit docs/cockpit/*
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/examples etc/jobqueued.yaml etc/jobqueue.d/examples.yaml systemd/cron.conf
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/jobqueued/container docs/container/*

# Build the Debian packages into build/deb, with Debian's tools (`apt build-dep .`). They contain only files that git tracks.
deb:
	rm -rf build/deb && mkdir -p build/deb/source
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -xC build/deb/source
	cd build/deb && version=$$(dpkg-parsechangelog -l source/debian/changelog -S Version) && \
		tar --exclude=./debian --transform="s,^\.,jobqueued-$${version%-*}," --sort=name --owner=root --group=root --numeric-owner \
		--mtime="@$$(dpkg-parsechangelog -l source/debian/changelog -S Timestamp)" -cJf jobqueued_$${version%-*}.orig.tar.xz -C source .
	cd build/deb/source && dpkg-buildpackage --no-sign $(DEBFLAGS)
	rm -r build/deb/source

# Any output of lintian is a failure. debian/*lintian-overrides lists the exceptions and their reasons.
deb-check: deb
	! lintian --allow-root --pedantic --display-info --info --tag-display-limit 0 build/deb/*.changes 2>&1 | grep .
	python3 -m tests.support.dependents

# Build an RPM package into build/rpm, with rpmbuild. Its dependencies have Fedora's names.
rpm:
	rm -rf build/rpm && mkdir -p build/rpm/SOURCES
	version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' jobqueued/__init__.py) && \
	git ls-files -z --cached --others --exclude-standard | tar --null -T - --transform="s,^,jobqueued-$$version/," \
		-czf build/rpm/SOURCES/jobqueued-$$version.tar.gz && \
	rpmbuild --quiet --nodeps -D "_topdir $(CURDIR)/build/rpm" -ba packaging/jobqueued.spec

# Remove everything that `make install` installed, except /etc. Job files, state and records remain.
uninstall:
	rm -rf $(DESTDIR)$(PYTHONDIR)/jobqueued $(DESTDIR)$(PREFIX)/share/jobqueued $(DESTDIR)$(PREFIX)/share/doc/jobqueued
	rm -rf $(DESTDIR)$(PREFIX)/lib/jobqueued $(DESTDIR)$(PREFIX)/share/cockpit/jobqueued
	rm -f $(DESTDIR)$(PREFIX)/bin/jobqueued $(DESTDIR)$(PREFIX)/bin/jobqueuectl $(DESTDIR)$(PREFIX)/bin/jobqueue-fence
	for page in man/*.[1-9]; do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page#man/}; done
	for unit in systemd/jobqueue*; do rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit#systemd/}; done
	for unit in systemd/user/*; do rm -f $(DESTDIR)$(PREFIX)/lib/systemd/user/$${unit#systemd/user/}; done
	rm -f $(DESTDIR)$(PREFIX)/lib/sysusers.d/jobqueue.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/jobqueue.conf
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/jobqueuectl
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_jobqueuectl
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/jobqueuectl.fish

# The program that starts runs of other users (docs/performance.md). Without it, supervisors fork.
CFLAGS ?= -O2
native: jobqueued/child/start/become
jobqueued/child/start/become: jobqueued/child/start/become.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -Wall -Wextra -Werror $(LDFLAGS) -static -o $@ $<

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.linted: $(VENV)/.tested
	$(BIN)/pip install --quiet --editable '.[test,lint]'
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) var build *.egg-info
