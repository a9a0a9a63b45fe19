/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signal handler of guest memory. See fault.h.
 *
 * Signals are the process's, not a machine's, so this file alone keeps a list of machines. Taking
 * locks in this handler is safe where it would not be in others: the signals come from a touch of
 * guest memory, and nobody touches guest memory with one of the locks held that are taken here.
 */
#include "machine/fault.h"

#include "machine/vm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#define MACHINES_MAX 16 /* in one process; lodge-vmm has one, tests have two */

static struct {
	pthread_rwlock_t lock;
	struct vm *vms[MACHINES_MAX];
	struct sigaction old_segv, old_bus; /* who gets faults on other memory */
} faults = { .lock = PTHREAD_RWLOCK_INITIALIZER };

static struct vm *owner_of(const void *address)
{
	struct vm *found = NULL;

	pthread_rwlock_rdlock(&faults.lock);
	for (unsigned i = 0; i < MACHINES_MAX && !found; i++) {
		struct vm *vm = faults.vms[i];

		if (vm && (u64)((const u8 *)address - vm->memory.hva) < vm->memory.bytes)
			found = vm;
	}
	pthread_rwlock_unlock(&faults.lock);
	return found;
}

/* The machine ends and its thread must get on to notice: any memory will do. */
static bool give_any_page(const void *address)
{
	void *page = (void *)((uintptr_t)address & PAGE_MASK);

	return mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
}

static bool resolve(struct vm *vm, const siginfo_t *info)
{
	const char *why = "the file system behind its memory is full";

	if (info->si_signo == SIGSEGV) {
		if (!vm->memory.limits)
			return false; /* all of it is accessible: a bug of ours */
		why = guest_memory_provide(&vm->memory, info->si_addr);
		if (!why)
			return true;
	}
	switch (vm_wait_for_memory(vm, why)) {
	case VM_MEMORY_RETRY: return true;
	case VM_MEMORY_ENDS: return give_any_page(info->si_addr);
	default: return false;
	}
}

static void pass_on(int signo, siginfo_t *info, void *context)
{
	const struct sigaction *old = signo == SIGSEGV ? &faults.old_segv : &faults.old_bus;

	if (old->sa_flags & SA_SIGINFO)
		old->sa_sigaction(signo, info, context);
	else
		signal(signo, SIG_DFL); /* the fault comes again and ends the program */
}

static void handler(int signo, siginfo_t *info, void *context)
{
	int saved = errno;
	bool ours = info->si_code == (signo == SIGBUS ? BUS_ADRERR : SEGV_ACCERR);
	struct vm *vm = ours ? owner_of(info->si_addr) : NULL;

	if (!vm || !resolve(vm, info))
		pass_on(signo, info, context);
	errno = saved;
}

static int install(int signo, struct sigaction *old)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction before;

	sigemptyset(&action.sa_mask);
	if (sigaction(signo, &action, &before))
		return -errno;
	if (before.sa_sigaction != handler)
		*old = before;
	return 0;
}

int fault_register(struct vm *vm, GError **error)
{
	int err;

	pthread_rwlock_wrlock(&faults.lock);
	err = install(SIGSEGV, &faults.old_segv);
	if (!err)
		err = install(SIGBUS, &faults.old_bus);
	for (unsigned i = 0; i < MACHINES_MAX && !err; i++) {
		if (!faults.vms[i]) {
			faults.vms[i] = vm;
			pthread_rwlock_unlock(&faults.lock);
			return 0;
		}
	}
	pthread_rwlock_unlock(&faults.lock);
	err = err ? err : -EMFILE;
	g_set_error(error, VM_ERROR, -err, "cannot watch over guest memory: %s", g_strerror(-err));
	return err;
}

void fault_unregister(struct vm *vm)
{
	pthread_rwlock_wrlock(&faults.lock);
	for (unsigned i = 0; i < MACHINES_MAX; i++)
		if (faults.vms[i] == vm)
			faults.vms[i] = NULL;
	pthread_rwlock_unlock(&faults.lock);
}
