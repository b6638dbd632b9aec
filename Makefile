# Every target is one script in hack/; run a script directly for its options.

.PHONY: help build images deps lab test unit race e2e bench prove verify fuzz clean distclean

help: ## list the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

build: ## put ambient-node, ztunnel and ambientctl into bin/
	hack/build.sh

images: ## put the container image, with Debian's iptables, into bin/images
	hack/images.sh

deps: ## install what is missing on Debian (root)
	hack/install-deps.sh

lab: deps ## run the article's two nodes and compare them with its 20 listings (root)
	hack/lab.sh

test: deps ## the whole test suite, the lab included (root)
	hack/test.sh

unit: ## the Go tests alone (root: they make network namespaces)
	hack/test.sh --no-lab

race: ## the Go tests under the race detector (root)
	hack/race.sh

e2e: ## test a real Kubernetes with two nodes on this machine (root; builds it once)
	hack/e2e.sh

bench: ## the benchmarks, side by side with the 2022 way (root)
	hack/bench.sh

prove: deps ## the tracer against the kernel: 10,000 random packets, and every fault in a lab (root)
	hack/prove.sh

verify: ## format, vet, staticcheck, import directions, docs, golden files, scripts
	hack/verify.sh

fuzz: ## every fuzz target for FUZZTIME (30s), or those that FUZZ matches
	hack/fuzz.sh

clean: ## remove bin/
	rm -rf bin

distclean: clean ## remove what was downloaded and the built Kubernetes too
	cache="$${AMBIENT22_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/ambient22}" && rm -rf "$$cache/kernel" "$$cache/iptables" "$$cache"/cluster-*
