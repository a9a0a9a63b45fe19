/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers go in and out through the signal frame: SIGUSR1's return enters the code, the trap of
 * the INT3 at its end (or an exception on the way) brings the state back.
 */
#include "native.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define FLAGS_USER (FLAGS_ARITH | FLAG_DF)

static struct native_state *running;
static ucontext_t outside;
static u8 outside_fp[X86_XSAVE_BYTES + 1024] __attribute__((aligned(64)));
static int phase;
static u64 components;
static struct sigaction before[NSIG];

/* enum x86_gpr order */
static const int greg[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
			      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
			      REG_R12, REG_R13, REG_R14, REG_R15 };

static int vector_of(int signo, const ucontext_t *uc)
{
	int trapno = uc->uc_mcontext.gregs[REG_TRAPNO];

	if (signo == SIGTRAP && trapno == VEC_BP)
		return -1;
	return trapno;
}

/* The kernel's frame holds an XSAVE image when its software bytes say so. */
static size_t frame_bytes(const ucontext_t *uc)
{
	const u32 *sw = (const u32 *)((const u8 *)uc->uc_mcontext.fpregs + 464);

	return sw[0] == 0x46505853 ? sw[4] : 512; /* FP_XSTATE_MAGIC1, xstate_size */
}

static void handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	u8 *fp = (u8 *)uc->uc_mcontext.fpregs;
	size_t bytes = frame_bytes(uc);
	u32 sw[12];

	if (!running) { /* not ours: the software CPU's own handler */
		struct sigaction *old = &before[signo];

		if (old->sa_flags & SA_SIGINFO)
			old->sa_sigaction(signo, info, context);
		else
			signal(signo, SIG_DFL);
		return;
	}
	if (phase == 0) { /* SIGUSR1: go in */
		memcpy(outside_fp, fp, bytes);
		memcpy(outside.uc_mcontext.gregs, g, sizeof(outside.uc_mcontext.gregs));
		phase = 1;
		for (int i = 0; i < 16; i++)
			g[greg[i]] = running->gpr[i];
		g[REG_RIP] = running->rip;
		g[REG_EFL] = (g[REG_EFL] & ~FLAGS_USER) | (running->rflags & FLAGS_USER);
		memcpy(sw, fp + 464, sizeof(sw));
		memcpy(fp, running->xsave,
		       bytes < sizeof(running->xsave) ? bytes : sizeof(running->xsave));
		memcpy(fp + 464, sw, sizeof(sw));
		*(u64 *)(fp + 512) = components & *(u64 *)(sw + 2);
		return;
	}
	for (int i = 0; i < 16; i++)
		running->gpr[i] = g[greg[i]];
	running->vector = vector_of(signo, uc);
	running->rip = g[REG_RIP] - (running->vector == -1);
	running->rflags = g[REG_EFL] & FLAGS_USER;
	running->cr2 = uc->uc_mcontext.gregs[REG_CR2];
	memset(running->xsave, 0, sizeof(running->xsave));
	memcpy(running->xsave, fp, bytes < sizeof(running->xsave) ? bytes : sizeof(running->xsave));
	memset(running->xsave + 464, 0, 48);
	memcpy(g, outside.uc_mcontext.gregs, sizeof(outside.uc_mcontext.gregs));
	memcpy(fp, outside_fp, bytes);
	running = NULL;
}

void native_init(u64 xcr0)
{
	static const int signals[] = { SIGUSR1, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction action = { .sa_sigaction = handler,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	size_t bytes = 1 << 17;
	stack_t ss = { .ss_size = bytes };

	components = xcr0;
	ss.ss_sp = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL))
		abort();
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &action, &before[signals[i]]);
}

void native_go_first(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction action, old;

	sigaction(SIGUSR1, NULL, &action);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
		sigaction(signals[i], &action, &old);
		if (old.sa_sigaction != handler)
			before[signals[i]] = old;
	}
}

void native_run(struct native_state *s)
{
	running = s;
	phase = 0;
	raise(SIGUSR1);
}
