/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Can this host's /dev/kvm run a guest, now? It is opened, asked what it has, and has to run a few
 * instructions of 64-bit code, of which a kernel is made, in a machine that is thrown away: a KVM
 * that is there and fails is then found out before the guest has any state.
 */
#include "accel/kvm_need.h"
#include "base/types.h"
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define KVM "/dev/kvm"

/* --- the trial --- */

#define TRIAL_PAGES 8
#define TRIAL_BYTES (TRIAL_PAGES * PAGE_SIZE)
#define AT_PML4     0x1000
#define AT_PDPT     0x2000
#define AT_PD       0x3000
#define AT_CODE     0x4000
#define AT_STACK    0x7000
#define TRIAL_PORT  0x3f8
#define TRIAL_WORD  0x2a

/* A bit of what every kernel does, and says TRIAL_WORD at the end. */
__asm__(".pushsection .rodata\n"
	"trial_code:\n"
	"	mov $0xc0000080, %ecx\n" /* EFER */
	"	rdmsr\n"
	"	mov %cr3, %rcx\n"
	"	mov %rcx, %cr3\n"
	"	invlpg (%rsp)\n"
	"	swapgs\n"
	"	fninit\n"
	"	mov $0x15, %eax\n"
	"	movd %eax, %xmm0\n"
	"	paddd %xmm0, %xmm0\n"
	"	movdqu %xmm0, -16(%rsp)\n"
	"	mov -16(%rsp), %edi\n"
	"	xor %esi, %esi\n"
	"	lock xadd %edi, -32(%rsp)\n"
	"	bsf -32(%rsp), %ecx\n"
	"	mov -32(%rsp), %eax\n"
	"	mov $0x3f8, %edx\n"
	"	out %al, %dx\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"trial_end:\n"
	".popsection\n");
extern const u8 trial_code[], trial_end[];

struct trial {
	int kvm, vm, vcpu;
	u8 *memory;
	struct kvm_run *run;
	size_t run_bytes;
};

static int call(int fd, unsigned long request, void *argument)
{
	int result;

	do
		result = ioctl(fd, request, argument);
	while (result < 0 && errno == EINTR);
	return result;
}

/* Page tables that map the first 2 MiB to themselves. */
static bool fill_memory(struct trial *t)
{
	const u64 pml4 = AT_PDPT | 3, pdpt = AT_PD | 3, pd = 0x83;

	t->memory =
		mmap(NULL, TRIAL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->memory == MAP_FAILED)
		return false;
	memcpy(t->memory + AT_PML4, &pml4, sizeof(pml4));
	memcpy(t->memory + AT_PDPT, &pdpt, sizeof(pdpt));
	memcpy(t->memory + AT_PD, &pd, sizeof(pd));
	memcpy(t->memory + AT_CODE, trial_code, trial_end - trial_code);
	return true;
}

/* What EFER may hold is decided by CPUID. */
static bool set_cpuid(struct trial *t)
{
	const unsigned entries = 256;
	g_autofree struct kvm_cpuid2 *list =
		g_malloc0(sizeof(*list) + entries * sizeof(list->entries[0]));

	list->nent = entries;
	return !call(t->kvm, KVM_GET_SUPPORTED_CPUID, list) && !call(t->vcpu, KVM_SET_CPUID2, list);
}

static bool set_registers(struct trial *t)
{
	struct kvm_regs regs = { .rip = AT_CODE, .rsp = AT_STACK, .rflags = 2 };
	struct kvm_segment code = {
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_sregs sregs;

	if (call(t->vcpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
	sregs.cr3 = AT_PML4;
	sregs.cr4 = 0x620;  /* OSXMMEXCPT, OSFXSR, PAE */
	sregs.efer = 0x500; /* LMA, LME */
	return !call(t->vcpu, KVM_SET_SREGS, &sregs) && !call(t->vcpu, KVM_SET_REGS, &regs);
}

static char *cannot(const char *what)
{
	return g_strdup_printf("it cannot %s: %s", what, g_strerror(errno));
}

/* As accel/kvm.c makes its machines. */
static char *make(struct trial *t)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_userspace_memory_region slot = { .memory_size = TRIAL_BYTES };
	int bytes = call(t->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);

	t->vm = call(t->kvm, KVM_CREATE_VM, NULL);
	if (t->vm < 0 && errno == EBUSY)
		return g_strdup("the processor's virtualization is busy: another hypervisor "
				"(VirtualBox, VMware) uses it; end its guests");
	if (t->vm < 0)
		return cannot("make a machine");
	if (call(t->vm, KVM_ENABLE_CAP, &split))
		return cannot("provide local APICs");
	if (!fill_memory(t))
		return cannot("get memory");
	slot.userspace_addr = (uintptr_t)t->memory;
	if (call(t->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return cannot("set memory");
	t->vcpu = call(t->vm, KVM_CREATE_VCPU, NULL);
	if (t->vcpu < 0)
		return cannot("make a processor");
	t->run_bytes = MAX(bytes, 0);
	t->run = mmap(NULL, t->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
	if (t->run == MAP_FAILED || !set_cpuid(t) || !set_registers(t))
		return cannot("set a processor up");
	return NULL;
}

static char *run(struct trial *t)
{
	const struct kvm_run *r = t->run;

	if (call(t->vcpu, KVM_RUN, NULL))
		return g_strdup_printf("it fails at its first run: %s", g_strerror(errno));
	if (r->exit_reason == KVM_EXIT_IO && r->io.direction == KVM_EXIT_IO_OUT &&
	    r->io.port == TRIAL_PORT && ((const u8 *)r)[r->io.data_offset] == TRIAL_WORD)
		return NULL;
	return g_strdup_printf(
		"it fails at its first run: %s",
		r->exit_reason == KVM_EXIT_INTERNAL_ERROR ? "it cannot run a kernel's instructions"
		: r->exit_reason == KVM_EXIT_FAIL_ENTRY   ? "the processor refuses the guest"
		: r->exit_reason == KVM_EXIT_SHUTDOWN     ? "the processor shuts down"
							  : "a wrong result");
}

static char *try_out(int kvm)
{
	struct trial t = { kvm, -1, -1, MAP_FAILED, MAP_FAILED, 0 };
	char *why = make(&t);

	if (!why)
		why = run(&t);
	if (t.run != MAP_FAILED)
		munmap(t.run, t.run_bytes);
	if (t.vcpu >= 0)
		close(t.vcpu);
	if (t.vm >= 0)
		close(t.vm);
	if (t.memory != MAP_FAILED)
		munmap(t.memory, TRIAL_BYTES);
	return why;
}

bool kvm_tsc_is_stable(void)
{
	g_autofree char *name = NULL;

	return g_file_get_contents(
		       "/sys/devices/system/clocksource/clocksource0/current_clocksource", &name,
		       NULL, NULL) &&
	       !strcmp(g_strchomp(name), "tsc");
}

/* --- opening --- */

static char *why_denied(int err)
{
	struct stat st;
	struct group group, *found = NULL;
	char text[4096];

	if (stat(KVM, &st) || !(st.st_mode & S_IWGRP) || !st.st_gid)
		return g_strdup_printf(KVM ": %s: its owner alone may use it", g_strerror(err));
	if (getgrgid_r(st.st_gid, &group, text, sizeof(text), &found) || !found)
		return g_strdup_printf(KVM ": %s: group %u may use it", g_strerror(err),
				       (unsigned)st.st_gid);
	return g_strdup_printf(KVM ": %s: the group %s may use it; join that (usermod -aG %s %s) "
				   "and log in again",
			       g_strerror(err), group.gr_name, group.gr_name, g_get_user_name());
}

static char *why_not_open(int err)
{
	switch (err) {
	case ENOENT:
		return g_strdup("there is no " KVM ": load kvm_amd or kvm_intel; where that fails, "
				"turn virtualization on in this machine's firmware, or nested "
				"virtualization on its host");
	case EACCES:
	case EPERM: return why_denied(err);
	case ENODEV:
	case ENXIO: return g_strdup("nothing is behind " KVM ": load kvm_amd or kvm_intel");
	default: return g_strdup_printf("cannot open " KVM ": %s", g_strerror(err));
	}
}

int kvm_open(char **why)
{
	int fd = open(KVM, O_RDWR | O_CLOEXEC);
	const char *lacks;
	char *fails;

	*why = NULL;
	if (fd < 0) {
		*why = why_not_open(errno);
		return -1;
	}
	if (call(fd, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION) {
		*why = g_strdup(KVM " is not KVM as Linux has it since 2.6.22");
	} else if ((lacks = kvm_lacks(fd))) {
		*why = g_strdup_printf(KVM " is too old: it lacks %s; Linux 4.11 and newer have it",
				       lacks);
	} else if ((fails = try_out(fd))) {
		*why = g_strdup_printf(KVM " is there, but %s", fails);
		g_free(fails);
	}
	if (!*why)
		return fd;
	close(fd);
	return -1;
}
