# The front door. Each target is a line or two; the work is done by cargo, xtask and the test crates.
.DEFAULT_GOAL := help
# Cargo works in parallel by itself; two of these targets at once would wait for its locks, or for one cluster.
.NOTPARALLEL:
.PHONY: help demo test lint hw e2e truth bench fuzz soak soak-e2e images fmt gen tools clean cluster-up cluster-down cluster-status

CARGO ?= cargo
MINUTES ?= 10
# The tests of the fault matrix (docs/fault-matrix.md).
ROWS = ::f0 ::f1 ::f2 ::f3 ::f4 ::k0 ::k1 ::k2 ::k3
# The pinned compiler has AddressSanitizer, but names it only with its unstable flags allowed. The program that loads the
# library has the sanitizer's functions for both.
SANITIZED = RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
SANITIZED_AT = --target x86_64-unknown-linux-gnu --target-dir target/asan
ASAN = target/asan/x86_64-unknown-linux-gnu/debug
FUZZ = fuzz --seconds $$(($(MINUTES) * 60)) $(if $(SEED),--seed $(SEED))
FUZZ_CORPORA = GANTRY_FUZZ_MINUTES=$(MINUTES) $(if $(SEED),GANTRY_FUZZ_SEED=$(SEED))
SOAK = GANTRY_SOAK_MINUTES=$(MINUTES) $(if $(SEED),GANTRY_SOAK_SEED=$(SEED))

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Watch a simulated 8-GPU node at work (no GPU, no root, no cluster)
	$(CARGO) build --workspace --bins --lib
	$(CARGO) run --quiet -p demo -- $(ARGS)

test: ## Run every test that needs neither root nor network
	$(CARGO) build --workspace --bins --lib
	$(CARGO) test --workspace

lint: ## Check format, clippy, docs, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline --log-level error check bans licenses sources; \
	elif [ -n "$$CI" ]; then echo "cargo-deny is missing: run 'make tools' first" >&2; exit 1; \
	else echo "cargo-deny is missing, dependencies were NOT checked: 'make tools' installs it" >&2; fi

hw: ## Ask real GPUs, if there are some, what the simulator has to answer; changes nothing (NVML_LIBRARY=PATH)
	@$(CARGO) build --quiet -p nvml-probe -p nvml-sim-abi --bins --lib
	@target/debug/nvml-probe $(if $(NVML_LIBRARY),--library $(NVML_LIBRARY)) check --or-skip --host-root / \
		--simulator target/debug/libnvml_sim_abi.so $(ARGS)

# A given cluster is neither started nor ended here.
e2e: truth $(if $(GANTRY_E2E_KUBECONFIG),,cluster-up) images ## Test on a real one-node Kubernetes (root; first run builds it, about 20 minutes)
	$(CARGO) build --workspace --bins --lib
	$(if $(GANTRY_E2E_KUBECONFIG),,$(CARGO) test -p test-cluster --features root --lib root_tests)
	$(CARGO) test -p integration-tests --features cluster --test cluster -- --test-threads=1

truth: ## Let programs of others judge the simulated driver (network, gcc, Go, Python)
	$(CARGO) build --workspace --bins --lib
	$(if $(PEERS),PEERS=$(PEERS)) $(CARGO) test -p integration-tests --features network --test truth

bench: ## Print the performance table (PEERS=DIR measures other device plugins too)
	@$(CARGO) xtask image || echo "no image was built (see above), so its size is not measured" >&2
	$(CARGO) build --release --workspace --bins --lib
	$(CARGO) run --quiet --release -p bench -- $(if $(PEERS),--peers $(PEERS)) $(ARGS)

fuzz: ## Make inputs of the corpora (config files, ids, PCI configuration spaces, bytes for sockets), and try them (MINUTES=10 each, SEED=N)
	$(CARGO) build --workspace --bins --lib
	$(FUZZ_CORPORA) $(CARGO) test -p gpu-config --test it -- --nocapture --test-threads=1 bad_input::corpus
	$(FUZZ_CORPORA) $(CARGO) test -p node-host --test it -- --nocapture --test-threads=1 vgpu::corpus
	$(FUZZ_CORPORA) $(CARGO) test -p gpu-device-plugin --lib --test it -- --nocapture --test-threads=1 corpus_of

# One line for each piece; each runs for MINUTES.
soak: ## Run what needs long: chaos among many processes, misuse of the library (also with AddressSanitizer), the fault matrix (MINUTES=10 each, SEED=N)
	$(CARGO) build --workspace --bins --lib
	$(SOAK) $(CARGO) test -p nvml-sim-abi --features soak --test it -- --nocapture soak::
	rm -rf target/soak && target/debug/nvml-sim init --preset dgx-a100 target/soak
	target/debug/nvml-sim run --dir target/soak -- target/debug/nvml-probe $(FUZZ)
	$(SANITIZED) $(CARGO) build $(SANITIZED_AT) -p nvml-sim -p nvml-sim-abi --bins --lib
	$(SANITIZED) $(CARGO) rustc $(SANITIZED_AT) -p nvml-probe --bin nvml-probe -- -Clink-arg=-Wl,--export-dynamic
	rm -rf target/soak && $(ASAN)/nvml-sim init --preset dgx-h100 target/soak
	$(ASAN)/nvml-sim run --dir target/soak -- $(ASAN)/nvml-probe $(FUZZ)
	$(SOAK) GANTRY_FAULT_REPEATS=full $(CARGO) test -p gpu-device-plugin --test it -- --nocapture $(ROWS) chaos::
	$(if $(filter 0,$(shell id -u)),$(MAKE) soak-e2e,@echo "not root: the fault matrix on a real kubelet was left out" >&2)

soak-e2e: $(if $(GANTRY_E2E_KUBECONFIG),,cluster-up) images ## Run the fault matrix in full on a real one-node Kubernetes (root; hours)
	$(CARGO) build --workspace --bins --lib
	GANTRY_FAULT_REPEATS=full $(CARGO) test -p integration-tests --features cluster --test cluster -- \
		--test-threads=1 --nocapture $(ROWS)

images: ## Build the container images into target/images
	$(CARGO) xtask image

cluster-up: ## Start the one-node Kubernetes (root)
	$(CARGO) run --quiet -p test-cluster -- up

cluster-down: ## Stop it and remove what it left
	$(CARGO) run --quiet -p test-cluster -- down

cluster-status: ## Say what runs
	$(CARGO) run --quiet -p test-cluster -- status

fmt: ## Format all code
	$(CARGO) fmt --all

gen: ## Write generated code anew
	$(CARGO) xtask gen

tools: ## Install the developer tools that make lint uses
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny@0.20.2

clean: ## Remove build outputs (the cluster's programs stay cached in .cache)
	$(CARGO) clean
