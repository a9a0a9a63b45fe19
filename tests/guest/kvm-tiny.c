/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest use of /dev/kvm: one processor in real mode adds two numbers, says the sum at a port
 * and halts. Prints what it saw; exit status 0 if that was right.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PORT 0x3f8
#define PAGE 4096
#define AT   0x1000 /* where its code is */

static const uint8_t code[] = {
	0xba, PORT & 0xff, PORT >> 8, /* mov dx, PORT */
	0x00, 0xd8,                   /* add al, bl */
	0xee,                         /* out dx, al */
	0xf4,                         /* hlt */
};

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static int start(int vcpu, uint8_t a, uint8_t b)
{
	struct kvm_regs regs = { .rip = AT, .rax = a, .rbx = b, .rflags = 2 };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) ? -1 : 0;
}

/* What the guest says at its port, or -1. */
static int said(const struct kvm_run *run)
{
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT || run->io.size != 1 ||
	    run->io.direction != KVM_EXIT_IO_OUT)
		return -1;
	return ((const uint8_t *)run)[run->io.data_offset];
}

int main(void)
{
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = AT, .memory_size = PAGE };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, version;
	struct kvm_run *run;
	void *memory;

	if (kvm < 0)
		return fail("cannot open /dev/kvm");
	version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return fail("cannot create a VM");
	memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return fail("cannot get memory");
	memcpy(memory, code, sizeof(code));
	slot.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return fail("cannot set memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return fail("cannot create a vCPU");
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	if (run == MAP_FAILED || start(vcpu, 40, 2))
		return fail("cannot set up the vCPU");
	if (ioctl(vcpu, KVM_RUN, 0))
		return fail("cannot run the vCPU");
	printf("KVM API version %d: the guest says %d", version, said(run));
	if (version != KVM_API_VERSION || said(run) != 42)
		return puts(", which is wrong") < 0 ? 2 : 1;
	if (ioctl(vcpu, KVM_RUN, 0) || run->exit_reason != KVM_EXIT_HLT)
		return puts(", but does not halt") < 0 ? 2 : 1;
	return puts(" and halts") < 0;
}
