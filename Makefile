# make run: try it here, without root; make page: look at it.  make test: what must pass.  The rest: see README.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PREFIX ?= /usr
PYTHONDIR ?= $(PREFIX)/lib/python3/dist-packages

.PHONY: run page test lint units generate docs bench bench-quick browser system twin soak mutants faults realcron chaos chaos-breaks fleet fleet-demo fleet-chaos fleet-scenes fleet-lives fleet-breaks slurm simulation longrun power power-breaks deb deb-check rpm install install-files uninstall clean

run: $(VENV)/.installed
	@mkdir -p var
	@exec $(BIN)/jobqueued --root var --config etc/jobqueued.yaml --jobs etc/jobqueue.d --log text

# The page beside `make run`, until Ctrl-C, by Debian's cockpit-ws and cockpit-bridge.  There is no login: whoever else is on
# this host could come in, and would be you.
PORT ?= 9091
COCKPIT_WS ?= /usr/lib/cockpit/cockpit-ws
page:
	@test -S var/run/control || { echo "first, in another terminal: make run" >&2; exit 1; }
	@test -x $(COCKPIT_WS) || { echo "no $(COCKPIT_WS) here: apt install cockpit-ws cockpit-bridge" >&2; exit 1; }
	@rm -rf build/page && mkdir -p build/page/cockpit && cp -r cockpit build/page/cockpit/jobqueued
	@sed -i 's,"/run/jobqueue,"$(CURDIR)/var/run,' build/page/cockpit/jobqueued/varlink.js build/page/cockpit/jobqueued/manifest.json
	@echo "http://127.0.0.1:$(PORT)/cockpit/@localhost/jobqueued/index.html"
	@XDG_DATA_HOME="$(CURDIR)/build/page" exec $(COCKPIT_WS) --no-tls -a 127.0.0.1 -p $(PORT) --local-session=cockpit-bridge

# Half of the tests wait for something most of the time.  `make test TESTS=tests/pure`: only these.
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

# Ours, and those in docs/metrics.md.  Any word of systemd-analyze is a failure: its exit code lets unknown settings pass.
units:
	t=$$(mktemp -d) && trap "rm -r $$t" EXIT && mkdir $$t/user && export XDG_RUNTIME_DIR=$$t && \
	for unit in systemd/jobqueue* systemd/user/*; do \
		sed 's,=/usr/bin/jobqueue[a-z]*,=/usr/bin/true,' $$unit >$$t/$${unit#systemd/}; done && \
	sed '/^```ini/,/^```$$/!d; /^```/d; s,=/usr/bin/jobqueue[a-z]*,=/usr/bin/true,' docs/metrics.md >$$t/jobqueued-metrics.service && \
	! systemd-analyze verify --man=no $$t/jobqueue* 2>&1 | grep . && \
	! systemd-analyze --user verify --man=no $$t/user/* 2>&1 | grep .

# What is written from tables: the JSON Schema, and parts of the man pages (man/generate.py).
generate: $(VENV)/.installed
	$(BIN)/python -m man.generate

# The papers, the varlink interface and the library's reference as pages: build/html/index.html.  SPHINX=/usr/bin/sphinx-build
# takes Debian's, of python3-sphinx and python3-myst-parser, and Debian's libraries.
SPHINX ?= $(BIN)/sphinx-build
docs: $(if $(filter $(BIN)/%,$(SPHINX)),$(VENV)/.documented)
	PYTHONPATH=. $(SPHINX) --quiet --fail-on-warning --keep-going docs build/html

# Which targets are met; as root also beside other schedulers, which are fetched, an hour a round.  PEERS: names and options.
PEERS ?= --rounds 1
bench: $(VENV)/.tested
	$(BIN)/python -m bench
	[ "$$(id -u)" != 0 ] || $(BIN)/python -m bench.peers $(PEERS)

# The guard: less than a minute; fails where something costs 1.3 times what it did when its bound was set.
bench-quick: $(VENV)/.tested
	$(BIN)/python -m bench.quick

# Every clock change of every zone since 1970, some ten minutes; all that can happen to the queue, as long again or longer;
# every run of a supervisor; 10,000 submissions of one user; simulated lives, hours, and whether broken programs are seen
# by them; then slips in the core.  What fails does not keep the rest from being tried.
soak: $(VENV)/.tested
	@failed=; \
	JOBQUEUED_SOAK=1 $(BIN)/python -m pytest tests/pure/timing/test_zones.py tests/pure/core/test_machine.py \
		tests/pure/core/fleet/test_fleet.py tests/pure/core/fleet/test_fleet_memory.py tests/real/child/test_supervisor.py tests/real/control/test_submissions.py || failed="$$failed tests"; \
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) || failed="$$failed simulation"; \
	$(BIN)/python -m tests.simulation.mutants || failed="$$failed simulation.mutants"; \
	$(BIN)/python -m tests.mutants --sample $(SAMPLE) --seed $(SEED) || failed="$$failed mutants"; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

# Slips in the queue and the core, each of which a test must notice: SAMPLE of them by chance (minutes), or 0: all (hours).
SAMPLE ?= 600
mutants: $(VENV)/.tested
	$(BIN)/python -m tests.mutants --sample $(SAMPLE) --seed $(SEED)

# I/O that fails, at each call in each way: some minutes.  NTH=6: at each sixth.
NTH ?= 1
faults: $(VENV)/.tested
	JOBQUEUED_FAULTS=$(NTH) $(BIN)/python -m pytest -n 4 --dist worksteal tests/real/days/test_faults.py tests/real/notices/test_notice_crash_points.py tests/real/runs/test_killed_starts.py

# Our due times beside the real Debian cron and cronie, as root: fetched, not installed.  --write: docs/dev/realcron.md.
realcron: $(VENV)/.installed
	$(BIN)/python -m tests.realcron

# Whole lives of a host by seed, in one process: docs/dev/simulation.md.
SEEDS ?= 1-10000
simulation: $(VENV)/.tested
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# Bad days, as root, judged by what the jobs wrote down (docs/dev/chaos.md).  DAY: more options, such as --markdown FILE.
MINUTES ?= 10
SEED ?= 1
chaos: $(VENV)/.tested
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED) $(DAY)

# The program broken on purpose: does a short bad day see it?
chaos-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.chaos.breaks

# Three daemons beside three members of etcd, under faults of hosts, network and etcd (docs/dev/fleet-chaos.md); `make fleet`
# takes some ten minutes, as root, and types docs/fleet-setup.md.  FLEET: more options, such as --pause 3, or --only "answers".
fleet: $(VENV)/.tested
	$(BIN)/python -m tests.fleet --minutes 1.8 --pause 4 --seed $(SEED) $(FLEET)
	$(BIN)/python -m tests.fleet.scenes
	$(BIN)/python -m tests.fleet.demo
	$(BIN)/python -m tests.fleet.setup

# The same as docs/dev/fleet-demo.md shows.  DEMO=--write: what was shown goes there.
DEMO ?=
fleet-demo: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.demo $(DEMO)

fleet-chaos: $(VENV)/.tested
	$(BIN)/python -m tests.fleet --minutes $(MINUTES) --pause 4 --seed $(SEED) $(FLEET)

fleet-scenes: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.scenes

# Runs on Slurm, by Debian's slurm-wlm: a controller and three nodes of our own (docs/slurm.md), some three minutes.
slurm: $(VENV)/.tested
	$(BIN)/python -m pytest tests/slurm

# Hosts under faked time, seed after seed, until OCCURRENCES have run.
OCCURRENCES ?= 1000000
fleet-lives: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.lives --occurrences $(OCCURRENCES) --first $(SEED)

fleet-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.fleet.breaks

# N runs, really started as processes: nothing of the daemon may grow, and each of them starts once.  A million take
# some 40 minutes of two idle CPUs, N=20000 less than one.  LONGRUN: further arguments.
N ?= 1000000
RATE ?= 400
longrun: $(VENV)/.tested
	$(BIN)/python -m tests.longrun --runs $(N) --rate $(RATE) $(LONGRUN)

# The power goes off at each write, as root: images of a disk, each of which is started.  `make power IMAGES=40 SEED=7`
IMAGES ?= 600
power: $(VENV)/.tested
	$(BIN)/python -m tests.power --images $(IMAGES) --seed $(SEED)
	$(BIN)/python -m tests.power.damaged

# The program broken on purpose: do some images see it?
power-breaks: $(VENV)/.tested
	$(BIN)/python -m tests.power.breaks

# Pages, in Chromium without a screen.  PICTURES=docs writes those of the docs.
PICTURES ?=
PAGES ?= tests/browser
browser: $(VENV)/.tested build/axe/.fetched
	JOBQUEUED_PICTURES=$(PICTURES) $(BIN)/python -m pytest $(PAGES)

# axe-core, which looks for what is in the way of people, in the package of somebody who needs it too.
build/axe/.fetched: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/axe axe-playwright-python
	touch $@

# Each file of tests in a machine of its own, two at a time.  A line "# vm-run: …" in it is for vm-run.
SYSTEM = $(wildcard tests/system/test_*.py)
system:
	$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(SYSTEM:%=vm/%)

vm/%:
	tests/system/vm-run $$(sed -n 's/^# vm-run: //p' $*) $(LIMIT) -- $(ENV) python3 -m pytest -p no:cacheprovider -v $*

# All starts of two weeks in the virtual machine beside the real cron's, not only those of rare lines: hours.
twin: LIMIT = --timeout 20000
twin: ENV = env JOBQUEUED_TWIN=1
twin: vm/tests/system/test_twin.py

# The packages are built outside of the machine, which has no network; it gets cron with them, to go back to.
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

# As an administrator installs it without a package; settings that are there stay.
install: install-files
	find jobqueued -name '*.py' -exec install -Dm644 '{}' '$(DESTDIR)$(PYTHONDIR)/{}' ';'
	install -Dm644 -t $(DESTDIR)$(PYTHONDIR)/jobqueued/ctl/chart/page jobqueued/ctl/chart/page/*
	/usr/bin/python3 -m compileall -q $(if $(DESTDIR),-s $(DESTDIR)) $(DESTDIR)$(PYTHONDIR)/jobqueued

# All but the modules, which packages install in their own ways.
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

# Debian packages, into build/deb, by Debian's tools: `apt build-dep .` once.  Only what git knows is in them.
deb:
	rm -rf build/deb && mkdir -p build/deb/source
	git ls-files -z --cached --others --exclude-standard | tar --null -T - -c | tar -xC build/deb/source
	cd build/deb && version=$$(dpkg-parsechangelog -l source/debian/changelog -S Version) && \
		tar --exclude=./debian --transform="s,^\.,jobqueued-$${version%-*}," --sort=name --owner=root --group=root --numeric-owner \
		--mtime="@$$(dpkg-parsechangelog -l source/debian/changelog -S Timestamp)" -cJf jobqueued_$${version%-*}.orig.tar.xz -C source .
	cd build/deb/source && dpkg-buildpackage --no-sign $(DEBFLAGS)
	rm -r build/deb/source

# Any word of lintian is a failure; what debian/*lintian-overrides leaves out has its reason there.
deb-check: deb
	! lintian --allow-root --pedantic --display-info --info --tag-display-limit 0 build/deb/*.changes 2>&1 | grep .
	python3 -m tests.support.dependents

# An RPM package, into build/rpm, by rpmbuild.  Its dependencies have Fedora's names.
rpm:
	rm -rf build/rpm && mkdir -p build/rpm/SOURCES
	version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' jobqueued/__init__.py) && \
	git ls-files -z --cached --others --exclude-standard | tar --null -T - --transform="s,^,jobqueued-$$version/," \
		-czf build/rpm/SOURCES/jobqueued-$$version.tar.gz && \
	rpmbuild --quiet --nodeps -D "_topdir $(CURDIR)/build/rpm" -ba packaging/jobqueued.spec

# All that `make install` has put there, but for /etc; job files, state and records stay.
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
