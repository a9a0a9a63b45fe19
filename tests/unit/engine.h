/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of test-engine share. */
#ifndef LODGE_TESTS_ENGINE_H
#define LODGE_TESTS_ENGINE_H

#include "cpu/arch.h"
#include "machine/vm.h"

#define MEMORY (32 * MIB)
#define PAGES  (MEMORY / PAGE_SIZE)

/* A machine of the engine under test without devices but for @region of ports; not started. */
struct vm *engine_machine(unsigned vcpus, struct region *region);
bool engine_is_kvm(void);
/* Waits, with patience, until @word is not 0. */
void engine_wait(const unsigned *word);
/* Has @vcpu begin with this state, while the machine stands. */
void engine_put_state(struct vm *vm, struct vcpu *vcpu, const struct x86_state *s);

/* engine-writes.c */
void test_each_write(void);
void test_writes_while_copied(void);

#endif
