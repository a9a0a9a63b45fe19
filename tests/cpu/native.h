/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first oracle: the host's own processor. Runs a few instructions natively from a given
 * register state, by returning from a signal into them, and catches what comes out.
 */
#ifndef LODGE_TESTS_CPU_NATIVE_H
#define LODGE_TESTS_CPU_NATIVE_H

#include "cpu/arch.h"

struct native_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	int vector; /* -1: reached the INT3 behind the code; else the exception */
	u64 cr2;
	u8 xsave[X86_XSAVE_BYTES] __attribute__((aligned(64)));
};

/* Once. @xcr0: the components of xsave that are loaded and compared. */
void native_init(u64 xcr0);
/* After a processor was made, which takes the signals for itself. */
void native_go_first(void);
/* Runs from @s until INT3 or an exception; @s becomes the state then. The code must end in INT3. */
void native_run(struct native_state *s);

#endif
