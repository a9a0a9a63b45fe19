/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A /dev/kvm of which a test says what it is like, for a program that has this preloaded. FAKE_KVM:
 *
 *   absent    there is none              denied    the group FAKE_KVM_GROUP may use it
 *   gone      its driver is not loaded   owner     nobody but its owner may
 *   busy      another hypervisor runs    old       it lacks what came with Linux 4.11
 *   fails     it cannot run instructions refuses   the processor does not enter the guest
 *   wrong     a wrong result             works     it says what the trial wants to hear
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH      "/dev/kvm"
#define RUN_BYTES 12288

static int kvm = -1, vm = -1, vcpu = -1;

static int is(const char *what)
{
	const char *mode = getenv("FAKE_KVM");

	return mode && !strcmp(mode, what);
}

static int fail(int number)
{
	errno = number;
	return -1;
}

static int fake(void)
{
	int fd = memfd_create("kvm", MFD_CLOEXEC);

	return fd < 0 || ftruncate(fd, RUN_BYTES) ? -1 : fd;
}

int open64(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (strcmp(path, PATH))
		return real(path, flags, mode);
	if (is("absent"))
		return fail(ENOENT);
	if (is("gone"))
		return fail(ENODEV);
	if (is("denied") || is("owner"))
		return fail(EACCES);
	return kvm = fake();
}

int stat64(const char *path, struct stat64 *st)
{
	int (*real)(const char *, struct stat64 *) = dlsym(RTLD_NEXT, "stat64");

	if (strcmp(path, PATH))
		return real(path, st);
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFCHR | (is("denied") ? 0660 : 0600);
	st->st_gid = atoi(getenv("FAKE_KVM_GROUP") ?: "0");
	return 0;
}

/* As the trial wants it, but for the case that is tried. */
static int run(void)
{
	struct kvm_run *r = mmap(NULL, RUN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (r == MAP_FAILED)
		return -1;
	r->exit_reason = is("fails")     ? KVM_EXIT_INTERNAL_ERROR
			 : is("refuses") ? KVM_EXIT_FAIL_ENTRY
					 : KVM_EXIT_IO;
	r->io.direction = KVM_EXIT_IO_OUT;
	r->io.size = 1;
	r->io.port = 0x3f8;
	r->io.count = 1;
	r->io.data_offset = 4096;
	((uint8_t *)r)[4096] = is("wrong") ? 41 : 42;
	munmap(r, RUN_BYTES);
	return 0;
}

int ioctl(int fd, unsigned long request, ...) __attribute__((visibility("default")));

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
	va_list args;
	void *argument;

	va_start(args, request);
	argument = va_arg(args, void *);
	va_end(args);
	if (fd < 0 || (fd != kvm && fd != vm && fd != vcpu))
		return real(fd, request, argument);
	switch (request) {
	case KVM_GET_API_VERSION: return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return !(is("old") && (uintptr_t)argument == KVM_CAP_IMMEDIATE_EXIT);
	case KVM_GET_VCPU_MMAP_SIZE: return RUN_BYTES;
	case KVM_CREATE_VM: return is("busy") ? fail(EBUSY) : (vm = fake());
	case KVM_CREATE_VCPU: return vcpu = fake();
	case KVM_RUN: return run();
	default: return 0;
	}
}
