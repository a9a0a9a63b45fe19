/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host signals. Translated code runs the guest's own instructions, so the host's processor raises
 * the guest's #DE, #XM, #MF, alignment #GP and #UD for us, as signals. The handler does one thing:
 * if the interrupted address lies in the code cache of the processor that runs on this thread, it
 * records the cause and continues at the cache's exit_signal thunk. Every other fault is a bug of
 * ours: one line on stderr, then the default action, so that a core file shows it.
 *
 * The handler runs on a stack of its own, since host rsp may be anywhere in our frame budget.
 */
#include "cpu/code.h"
#include "cpu/run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_MIN 65536

static __thread struct cpu *current;
static __thread void *stack;
static __thread size_t stack_bytes;

struct cpu *signals_current(const struct cpu_vm *vm)
{
	return current && current->vm == vm ? current : NULL;
}

/* The kernel tells the exception's vector; the signal number alone does not separate x87 from SIMD.
 */
static enum signal_cause cause_of(const ucontext_t *uc)
{
	switch (uc->uc_mcontext.gregs[REG_TRAPNO]) {
	case VEC_DE: return SIGNAL_DE;
	case VEC_UD: return SIGNAL_UD;
	case VEC_GP: return SIGNAL_GP;
	case VEC_MF: return SIGNAL_MF;
	case VEC_XM: return SIGNAL_XM;
	default: return SIGNAL_OTHER;
	}
}

static void report(int signo, u64 pc, const siginfo_t *info)
{
	char line[160];
	int n = snprintf(line, sizeof(line),
			 "lodge-vmm: internal error: signal %d at %#llx, address %p\n", signo,
			 (unsigned long long)pc, info->si_addr);

	if (write(STDERR_FILENO, line, n) < 0)
		return;
}

/* A call found no room for its frame: what is there is forgotten. */
static bool shadow_is_full(const struct cpu *cpu, u64 address)
{
	u64 guard = (u64)(uintptr_t)cpu->shadow + cpu->shadow_class * SHADOW_STRIDE;

	return address - guard < PAGE_SIZE;
}

static void handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	u64 pc = regs[REG_RIP];
	struct code_cache *code = current ? current->vm->code : NULL;
	enum signal_cause cause;

	if (code && pc - (u64)(uintptr_t)code->rx < code->bytes) {
		if (shadow_is_full(current, (u64)(uintptr_t)info->si_addr)) {
			regs[REG_RSP] = cpu_shadow_bottom(current, current->shadow_class);
			return;
		}
		cause = cause_of(uc);
		if (signo == SIGSEGV && (u64)(uintptr_t)info->si_addr < PAGE_SIZE &&
		    cause == SIGNAL_OTHER)
			cause = SIGNAL_NOWHERE; /* struct stack_page */
		if (cause != SIGNAL_OTHER) {
			current->exit_arg = cause;
			current->scratch[2] = pc;
			current->scratch[3] = regs[REG_EFL];
			regs[REG_RIP] = (u64)(uintptr_t)code->rx + code->thunks.exit_signal;
			return;
		}
	}
	report(signo, pc, info);
	signal(signo, SIG_DFL);
}

int signals_install(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
		if (sigaction(signals[i], &action, NULL))
			return -errno;
	return 0;
}

int signals_thread_start(struct cpu *cpu)
{
	stack_t ss = { 0 };

	current = cpu;
	if (stack)
		return 0;
	stack_bytes = MAX(getauxval(AT_MINSIGSTKSZ) * 4, STACK_MIN);
	stack = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED) {
		stack = NULL;
		return -errno;
	}
	ss.ss_sp = stack;
	ss.ss_size = stack_bytes;
	return sigaltstack(&ss, NULL) ? -errno : 0;
}

void signals_thread_leave(void)
{
	current = NULL;
}

void signals_thread_stop(void)
{
	stack_t ss = { .ss_flags = SS_DISABLE };

	current = NULL;
	if (!stack)
		return;
	sigaltstack(&ss, NULL);
	munmap(stack, stack_bytes);
	stack = NULL;
}
