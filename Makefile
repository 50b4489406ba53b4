# What a person or CI does with a checkout. `make` alone lists the targets.
#
# Every cargo command uses the release profile. The C++ bindings to libtorch take minutes to
# compile and each profile would compile its own, so there is only one.

EXPERIMENT ?= experiments/lrr.toml
ARGS       ?=
PREFIX     ?= $(HOME)/.local
TORCH      ?=
PYTHON     ?= python3

ROWS   ?=
DEVICE ?= cuda
CHECK  ?=

FUZZ_MINUTES ?= 10
FUZZ_TARGETS ?= $(notdir $(wildcard tests/fuzz/corpus/*))

TARGET  := $(or $(CARGO_TARGET_DIR),target)/release
DYLIB   := $(if $(filter Darwin,$(shell uname)),dylib,so)
PLUGINS := $(patsubst plugins/%/Cargo.toml,lib%.$(DYLIB),$(subst -,_,$(wildcard plugins/*/Cargo.toml)))

# Where the wheel goes.
WHEEL   := $(dir $(TARGET))wheel

# Pictures of the page.
BROWSER := $(dir $(TARGET))browser

# What fuzzing finds.
FOUND   := $(dir $(TARGET))fuzz

# The program looks for its plugins and libtorch beside its real file, so all of it goes into one
# folder and bin/ gets links to it.
BIN   := $(DESTDIR)$(PREFIX)/bin
SHARE := $(DESTDIR)$(PREFIX)/share
OURS  := $(DESTDIR)$(PREFIX)/lib/rewind
LINK  := ../lib/rewind/host
# Where a shell and man look for the help of the program $$name.
BASH_HELP := $(SHARE)/bash-completion/completions/$$name
ZSH_HELP  := $(SHARE)/zsh/site-functions/_$$name
FISH_HELP := $(SHARE)/fish/vendor_completions.d/$$name.fish
MAN_HELP  := $(SHARE)/man/man1/$$name.1

# What a plugin is written against, into the folder $(1): `rewind plugin new` links to it. It is a workspace of its own.
define sdk
	mkdir -p "$(1)/tests"
	cp LICENSE-MIT LICENSE-APACHE "$(1)/"
	cp -R plugin-api "$(1)/"
	cp -R tests/conformance "$(1)/tests/"
	awk '/^(default-)?members = / { listed = 1 } !listed; listed && /]$$/ { listed = 0 } \
		/^resolver = / { print "members = [\"plugin-api\", \"tests/conformance\"]" }' Cargo.toml >"$(1)/Cargo.toml"
endef

# LIBTORCH in the environment wins over .cargo/config.toml, in cargo as here.
TORCH_LIB := $(or $(LIBTORCH),.libtorch)/lib

# Cargo runs in parallel by itself; with `make -j` the steps of a target keep their order.
.NOTPARALLEL:
.PHONY: help tools libtorch nvrtc build run test browser attack cluster tidy lint smoke python wheel check fuzz bench bench-cuda bench-ranks bench-scaling check-cuda docs fmt clean install uninstall

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "run:      EXPERIMENT=$(EXPERIMENT) ARGS='--set train.epochs=1' ..."
	@echo "install:  PREFIX=$(PREFIX)"
	@echo "python:   PYTHON=$(PYTHON), with NumPy; torch, pandas, polars and tqdm are tried where they are installed"
	@echo "bench:    ROWS='lenet* mask-11M' BENCH_ROUNDS=7 BENCH_SECONDS=0.7 BENCH_THREADS=2; with bench-cuda also DEVICE=$(DEVICE)"
	@echo "check-cuda: CHECK='--device cuda:1 --only graphs --out FOLDER'"
	@echo "fuzz:     FUZZ_MINUTES=$(FUZZ_MINUTES) FUZZ_TARGETS='$(FUZZ_TARGETS)'"
	@echo "libtorch: TORCH=lean (CPU, 0.5 GB), full (CUDA, 4 GB) or a folder with libtorch; the first"
	@echo "          time the default is full where there is an NVIDIA GPU, later what is there."
	@echo "          With LIBTORCH set in the environment, that libtorch is used and none is fetched."

tools:
	@command -v cargo >/dev/null || { echo "make: cargo was not found. Install Rust with rustup: https://rustup.rs" >&2; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || { echo "make: the C++ compiler $${CXX:-c++} was not found. Install one (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install) or name yours in CXX." >&2; exit 1; }

libtorch: tools ## fetch libtorch into .libtorch, if it is not there yet
ifdef LIBTORCH
	@[ -e "$(LIBTORCH)/lib/libtorch.$(DYLIB)" ] || { echo "make: LIBTORCH=$(LIBTORCH) holds no lib/libtorch.$(DYLIB). Unset it to have libtorch fetched, or let it name a folder with libtorch 2.13.0." >&2; exit 1; }
	@echo "using the libtorch in LIBTORCH=$(LIBTORCH)"
else
	@command -v python3 >/dev/null || { echo "make: python3 was not found; it fetches libtorch. Install it (Debian and Ubuntu: apt install python3 python3-venv), or set LIBTORCH to a libtorch that you have." >&2; exit 1; }
	@python3 host/setup/libtorch.py "$(TORCH)"
endif

nvrtc: libtorch ## fetch the compiler of CUDA kernels into target/nvrtc for the tests, if no libtorch here has it
	@command -v python3 >/dev/null || { echo "nvrtc: python3 was not found, and tests that compile CUDA kernels are left out"; exit 0; }; \
	python3 host/setup/nvrtc.py

# The workspace's default members: the program and what it loads. Tests, attacks and measurements are built by
# the targets that run them.
build: libtorch ## build the program and the plugins
	cargo build --release
	@mkdir -p $(TARGET)/plugins && ln -sf $(addprefix ../,$(PLUGINS)) $(TARGET)/plugins/

run: build ## run an experiment
	$(TARGET)/host run $(EXPERIMENT) $(ARGS)

# The tests load plugins, which cargo builds as libraries only when asked to build: the shipped ones, and two
# made for tests. With the program beside them their dependencies have the features that are built already.
test: build nvrtc ## run the tests
	cargo build --release -p program -p drop-and-grow -p misbehaving
	@nvrtc="$$PWD/target/nvrtc/libnvrtc.so.13"; \
	if [ -e "$$nvrtc" ]; then export REWIND_NVRTC="$${REWIND_NVRTC:-$$nvrtc}"; fi; \
	set -x; cargo test --release --workspace --no-fail-fast

# `make test` opens both, too, where Chromium is installed.
browser: build ## open the page of `watch` and a report in a headless Chromium, with ten thousand cells and beside a sweep: minutes, with pictures
	@mkdir -p "$(BROWSER)"
	$(PYTHON) tests/browser/watch.py $(TARGET)/host "$(BROWSER)"
	$(PYTHON) tests/browser/report.py $(TARGET)/host "$(BROWSER)"
	$(PYTHON) tests/browser/many.py $(TARGET)/host "$(BROWSER)"
	$(PYTHON) tests/browser/live.py $(TARGET)/host "$(BROWSER)"

# The same tests are short in `make test`. ATTACK_KILLS is the number for each experiment, ATTACK_FAULTS
# that of calls that fail for each kind of failure. ATTACK_TIMES has the times kept that the documentation
# promises of a machine that does nothing else.
attack: build ## kill runs 50 times each, fail their calls, take their memory, share sweeps: minutes, with a table
	ATTACK_KILLS=$${ATTACK_KILLS:-50} cargo test --release -p attack kills:: -- --nocapture
	ATTACK_KILLS=$${ATTACK_KILLS:-50} ATTACK_CELLS=$${ATTACK_CELLS:-1000} ATTACK_CROWD=$${ATTACK_CROWD:-1000} \
		ATTACK_STILL=$${ATTACK_STILL:-60} cargo test --release -p attack claims:: -- --nocapture --test-threads 1
	ATTACK_STALE=$${ATTACK_STALE:-20} ATTACK_CROWD=$${ATTACK_CROWD:-1000} ATTACK_STILL=$${ATTACK_STILL:-60} \
		cargo test --release -p attack attributes:: -- --nocapture --test-threads 1 --include-ignored
	ATTACK_KILLS=$${ATTACK_KILLS:-8} cargo test --release -p attack ranks::a_network -- --nocapture
	ATTACK_TIMES=1 ATTACK_FAULTS=$${ATTACK_FAULTS:-40} cargo test --release -p attack -- --nocapture --skip kills:: --skip claims:: --skip attributes:: --skip ranks::a_network

# The Slurm is of this machine alone: four nodes in a temporary folder, which goes with it. CLUSTER_CELLS and
# CLUSTER_KILLS say how much is done to how many runs.
cluster: build ## run a sweep in a job array of a Slurm that is started for it, kill its tasks and nodes: minutes
	@set -eu; folder=$$(mktemp -d); \
	trap 'tests/cluster/slurm.sh down "$$folder" && rm -rf "$$folder"' EXIT; \
	tests/cluster/slurm.sh up "$$folder" 4; \
	SLURM_CONF="$$folder/slurm.conf" cargo test --release -p attack cluster:: -- --ignored --nocapture --test-threads 1

# `make test` takes the same steps on the CPU, in a short form. CHECK='--device cuda:1 --out FOLDER' chooses the GPU and keeps
# what was made.
check-cuda: build ## compare runs on a GPU with each other byte by byte, train all that is shipped there: minutes, with a table
	$(PYTHON) tests/cuda/check.py $(TARGET)/host $(CHECK)

tidy: tools ## check formatting, imports between modules and links of the documentation: seconds
	@cargo fmt --version >/dev/null || { echo "make: cargo fmt is needed: rustup component add rustfmt" >&2; exit 1; }
	cargo fmt --all --check
	python3 host/setup/imports.py
	python3 host/setup/links.py

lint: libtorch tidy ## check that too, clippy and the documentation of the code
	@cargo clippy --version >/dev/null || { echo "make: cargo clippy is needed: rustup component add clippy" >&2; exit 1; }
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo "make: deny.toml is not checked, cargo deny is not installed: cargo install --locked cargo-deny"; fi

# Runs the installed program from another folder, as a user does.
smoke: build ## install into a temporary folder and run that
	@set -eu; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(MAKE) --no-print-directory install PREFIX="$$folder/prefix"; \
	experiment="$$PWD/experiments/lrr.toml"; mkdir "$$folder/elsewhere"; cd "$$folder/elsewhere"; set -x; \
	"$$folder/prefix/bin/rewind" plan "$$experiment"; \
	"$$folder/prefix/bin/rewind" run "$$experiment" --set prune.levels=2 --set train.epochs=1

# `make test` runs them, too, where `python3` has NumPy. What else they need is said where it is not installed.
python: build ## run the tests of the Python package with PYTHON
	@$(PYTHON) -c 'import sys, numpy; sys.exit(sys.version_info < (3, 10))' || { echo "make: the tests need Python 3.10 or newer with NumPy, and torch for those of apply and export: name one in PYTHON=" >&2; exit 1; }
	cd host/python && REWIND="$(abspath $(TARGET)/host)" $(PYTHON) -m unittest discover -t . -s tests

# The program of the wheel is loaded with whatever PyTorch is installed beside it, so it is linked to no CUDA.
wheel: build ## make a wheel with the program, its plugins and the Python package in target/wheel
	@rm -rf "$(WHEEL)/sdk"
	$(call sdk,$(WHEEL)/sdk)
	python3 host/setup/wheel.py $(TARGET)/host "$(WHEEL)/sdk" "$(WHEEL)" $(addprefix $(TARGET)/,$(PLUGINS))

# The tests come last, so that their summary closes the output.
check: lint smoke test ## what a change has to pass: lint, smoke, test

# The workspace's crates are built once more, with coverage, beside the others in the same folder.
fuzz: libtorch ## search for inputs that break a reader, FUZZ_MINUTES for each target
	RUSTC_WORKSPACE_WRAPPER="$$PWD/tests/fuzz/instrument.sh" \
		cargo build --release -p fuzz --features coverage --bin fuzz-coverage
	@set -eu; for target in $(FUZZ_TARGETS); do \
		own=$(FOUND)/$$target; mkdir -p "$$own/inputs"; echo "fuzzing $$target"; \
		FUZZ_TARGET=$$target $(TARGET)/fuzz-coverage "$$own/inputs" "tests/fuzz/corpus/$$target" \
			-max_total_time=$$(($(FUZZ_MINUTES) * 60)) -timeout=60 -rss_limit_mb=8192 -max_len=65536 \
			-print_final_stats=1 -artifact_prefix="$$own/" >"$$own/log" 2>&1 \
			|| { tail -n 40 "$$own/log"; echo "make: $$target fails; the input is in $$own" >&2; exit 1; }; \
		grep -E '^stat::number_of_executed_units|^#[0-9]+.DONE' "$$own/log"; \
	done

# PyTorch as pip installs it lives beside the results; what is there already is kept.
bench: build ## measure ROWS beside PyTorch and write BENCHMARKS.md; all rows take over an hour
	cargo build --release -p bench
	python3 tests/bench/setup.py $(dir $(TARGET))bench/venv
	$(TARGET)/bench $(foreach row,$(ROWS),'$(row)')

# Where there is no GPU nothing is fetched to be compared with; BENCH_PYTHON names a Python that has PyTorch already.
bench-cuda: build ## measure the host on a GPU beside PyTorch and write the section on GPUs of BENCHMARKS.md
	cargo build --release -p bench
	@if [ -z "$$BENCH_PYTHON" ] && nvidia-smi -L >/dev/null 2>&1; then \
		python3 tests/bench/setup.py $(dir $(TARGET))bench/venv; \
	fi
	$(TARGET)/bench --device $(DEVICE) $(foreach row,$(ROWS),'$(row)')

bench-ranks: build ## measure one network on two processes beside PyTorch's DistributedDataParallel
	python3 tests/bench/setup.py $(dir $(TARGET))bench/venv
	$(dir $(TARGET))bench/venv/bin/python tests/bench/ranks.py $(TARGET)/host

bench-scaling: build ## measure how costs grow with networks, seeds and levels
	cargo build --release -p bench
	$(TARGET)/bench --scaling

docs: ## build the documentation as a site, with mdBook
	@command -v mdbook >/dev/null || { echo "make: mdbook was not found; it makes pages of docs/. Install it: cargo install --locked mdbook" >&2; exit 1; }
	python3 host/setup/site.py "$(dir $(TARGET))site"
	mdbook build "$(dir $(TARGET))site"
	@echo "open $(dir $(TARGET))site/book/index.html"

fmt: tools ## format the code
	cargo fmt --all

clean: ## remove what cargo built; .libtorch stays
	cargo clean

install: build ## install into PREFIX, as bin/rewind and, where that name is free, bin/host
	@$(MAKE) --no-print-directory uninstall
	@[ ! -e "$(BIN)/rewind" ] || { echo "make: $(BIN)/rewind is another program. Remove it or choose another PREFIX." >&2; exit 1; }
	mkdir -p "$(BIN)" "$(OURS)/plugins"
	cp $(TARGET)/host $(TARGET)/rewind-infer $(TARGET)/librewind_cuda.$(DYLIB) "$(OURS)/"
	cp $(addprefix $(TARGET)/,$(PLUGINS)) "$(OURS)/plugins/"
	$(call sdk,$(OURS)/sdk)
# The installed program must outlive the checkout, so the checkout's libtorch is copied. The CUDA
# libraries look for NVIDIA's in ../../nvidia, which torch/lib keeps in place.
	@set -eu; lib=$$(cd "$(TORCH_LIB)" && pwd -P); \
	case "$$lib" in \
	"$$(pwd -P)"/*) \
		echo "copying libtorch"; mkdir "$(OURS)/torch"; cp -R "$$lib" "$(OURS)/torch/lib"; \
		if [ -d "$$lib/../../nvidia" ]; then cp -R "$$lib/../../nvidia" "$(OURS)/"; fi; \
		ln -s torch/lib "$(OURS)/libtorch" ;; \
	*) \
		echo "linking to the libtorch in $$lib: keep that folder"; \
		ln -s "$$lib" "$(OURS)/libtorch" ;; \
	esac
	ln -s $(LINK) "$(BIN)/rewind"
# The runtime needs nothing that lies beside it.
	@if [ -e "$(BIN)/rewind-infer" ] || [ -L "$(BIN)/rewind-infer" ]; then \
		echo "$(BIN)/rewind-infer is another program and stays"; \
	else \
		ln -s $(dir $(LINK))rewind-infer "$(BIN)/rewind-infer"; \
	fi
# A DNS tool is called host, too.
	@if [ -e "$(BIN)/host" ] || [ -L "$(BIN)/host" ]; then \
		echo "$(BIN)/host is another program and stays: this one is rewind only"; \
	else \
		ln -s $(LINK) "$(BIN)/host"; \
	fi
	@for name in rewind host; do \
		[ "$$(readlink "$(BIN)/$$name")" = $(LINK) ] || continue; \
		save() { \
			file=$$1; shift; mkdir -p "$${file%/*}"; \
			"$(BIN)/$$name" "$$@" >"$$file" 2>/dev/null || { rm -f "$$file"; echo "no $$file: \`$$name $$*\` failed"; }; \
		}; \
		save "$(BASH_HELP)" completions bash; \
		save "$(ZSH_HELP)" completions zsh; \
		save "$(FISH_HELP)" completions fish; \
		save "$(MAN_HELP)" man; \
	done
	@echo "installed $(BIN)/rewind"
	@case ":$$PATH:" in *":$(BIN):"*) ;; *) echo "$(BIN) is not on your PATH: add it to run rewind by its name" ;; esac
	@found=$$(command -v host || true); \
	case "$$found" in "" | "$(BIN)/host") ;; *) echo "\`host\` is $$found on your PATH: use \`rewind\`, which is this same program" ;; esac

uninstall: ## remove from PREFIX what install put there, and nothing else
	@for name in rewind host; do \
		[ "$$(readlink "$(BIN)/$$name")" = $(LINK) ] || continue; \
		rm -f "$(BIN)/$$name" "$(BASH_HELP)" "$(ZSH_HELP)" "$(FISH_HELP)" "$(MAN_HELP)"; \
	done
	@[ "$$(readlink "$(BIN)/rewind-infer")" != $(dir $(LINK))rewind-infer ] || rm -f "$(BIN)/rewind-infer"
	@rm -rf "$(OURS)/host" "$(OURS)/rewind-infer" "$(OURS)/librewind_cuda.$(DYLIB)" "$(OURS)/sdk" "$(OURS)/libtorch" "$(OURS)/torch" "$(OURS)/nvidia"
	@rm -f $(foreach plugin,$(PLUGINS),"$(OURS)/plugins/$(plugin)")
	@rmdir "$(OURS)/plugins" "$(OURS)" 2>/dev/null || true
