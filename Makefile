# SPDX-License-Identifier: GPL-2.0-or-later
# The thin front of meson: everything is built into $(BUILD) and every target first installs the
# Debian packages it lacks (see tools/deps.sh). `make help` lists the targets.
BUILD ?= build
DESTDIR ?=
prefix ?= /usr/local
SANITIZE ?=
MESON_ARGS ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

ifeq ($(SANITIZE),1)
BUILD := $(BUILD)-asan
MESON_ARGS += -Db_sanitize=address,undefined -Db_lundef=false
endif

.PHONY: all programs deps demo run check check-slow bench install deb clean format help

all: deps-build $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS)

# What a guest needs, without the tests.
programs: deps-guest $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS) lodge lodge-vmm lodge-net

help:
	@echo "make            build everything into $(BUILD)/"
	@echo "make demo       boot a Debian guest, look around in it, boot it again"
	@echo "make run        boot the same guest and stay at its login prompt"
	@echo "make check      all tests that fit in twenty minutes (SANITIZE=1: ASan and UBSan)"
	@echo "make check-slow the long ones as well"
	@echo "make bench      measure"
	@echo "make deps       install every package any target needs"
	@echo "make install    prefix=/usr/local DESTDIR="
	@echo "make deb        build Debian packages, beside the tree"
	@echo "make format     clang-format the tree"
	@echo "make clean      remove the build directories"

.PHONY: deps-build deps-check deps-guest deps-slow deps-bench
deps-build:
	@sh tools/deps.sh build
deps-check:
	@sh tools/deps.sh build check guest
deps-guest:
	@sh tools/deps.sh build guest
deps-slow:
	@sh tools/deps.sh build check guest slow
deps-bench:
	@sh tools/deps.sh build guest bench
deps: deps-check

$(BUILD)/build.ninja: | deps-build
	@meson setup $(BUILD) $(MESON_ARGS) --prefix=$(abspath $(prefix))

demo: programs
	@python3 tools/demo.py --build $(BUILD)

run: programs
	@sh tools/run.sh $(BUILD)

check: deps-check all
	@python3 tools/run-tests.py $(BUILD) --no-suite slow --print-errorlogs

check-slow: deps-slow all
	@python3 tools/run-tests.py $(BUILD)

bench: deps-bench all
	@ninja -C $(BUILD) bench-boot
	@ninja -C $(BUILD) bench-cpu
	@ninja -C $(BUILD) bench-node
	@ninja -C $(BUILD) bench-manage

# The prefix is part of the programs: another one than the build's builds what knows it once more.
install: all
	@meson configure $(BUILD) -Dprefix=$(abspath $(prefix))
	@ninja -C $(BUILD) -j$(JOBS)
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

deb: deps-slow
	@dpkg-buildpackage -b -uc -us -tc -j$(JOBS)

format: deps-check
	@python3 tools/check-format.py --fix

clean:
	rm -rf build build-asan build-gcc build-clang
