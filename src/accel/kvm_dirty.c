/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which pages processors write, as KVM tells it: by a ring for each processor where it has them,
 * and the cost is that of the pages written; else by a bitmap for each slot, and the cost is that
 * of all of memory.
 *
 *   ring:    KVM pushes (slot, page) --> harvest() --> bits in vm->dirty --> collect() takes them
 *            full: the processor comes out and harvests
 *   bitmap:  KVM_GET_DIRTY_LOG takes the bits, and protects the pages anew
 *
 * A ring's entry belongs to KVM (0), then to us (DIRTY), then back to KVM (RESET), which protects
 * its page again at KVM_RESET_DIRTY_RINGS.
 */
#include "accel/kvm.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif

#define RING_ENTRIES 4096

static size_t ring_bytes(void)
{
	return RING_ENTRIES * sizeof(struct kvm_dirty_gfn);
}

/* Before there are processors. x86 has either capability's order of memory accesses. */
void kvm_dirty_init(struct kvm_machine *vm)
{
	static const u32 capabilities[] = { KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
					    KVM_CAP_DIRTY_LOG_RING };

	pthread_mutex_init(&vm->dirty_lock, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(capabilities) && !vm->dirty_rings; i++) {
		const struct kvm_enable_cap cap = { .cap = capabilities[i],
						    .args = { ring_bytes() } };

		vm->dirty_rings = !vm->config.dirty_bitmaps &&
				  (size_t)kvm_has(vm, capabilities[i]) >= ring_bytes() &&
				  !kvm_call(vm->fd, KVM_ENABLE_CAP, &cap);
	}
}

void kvm_dirty_destroy(struct kvm_machine *vm)
{
	for (unsigned i = 0; i < KVM_SLOTS; i++)
		g_free(vm->dirty[i]);
	pthread_mutex_destroy(&vm->dirty_lock);
}

int kvm_dirty_map_ring(struct kvm_cpu *cpu)
{
	cpu->ring = NULL;
	if (!cpu->vm->dirty_rings)
		return 0;
	cpu->ring = mmap(NULL, ring_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd,
			 KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_SIZE);
	if (cpu->ring != MAP_FAILED)
		return 0;
	cpu->ring = NULL;
	return -errno;
}

void kvm_dirty_unmap_ring(struct kvm_cpu *cpu)
{
	if (cpu->ring)
		munmap(cpu->ring, ring_bytes());
}

/* Whose page number is the guest's to choose, within what KVM has checked; ours checks it too. */
static void note(struct kvm_machine *vm, u32 slot, u64 page)
{
	if (slot < KVM_SLOTS && vm->dirty[slot] && page < vm->slots[slot].memory_size / PAGE_SIZE)
		vm->dirty[slot][page / 64] |= BIT(page % 64);
}

static unsigned harvest_ring(struct kvm_machine *vm, struct kvm_cpu *cpu)
{
	unsigned count = 0;

	for (; count < RING_ENTRIES; count++, cpu->ring_next++) {
		struct kvm_dirty_gfn *entry = &cpu->ring[cpu->ring_next % RING_ENTRIES];

		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		note(vm, entry->slot, entry->offset);
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
	}
	return count;
}

static void harvest_locked(struct kvm_machine *vm)
{
	unsigned count = 0;

	for (unsigned i = 0; i < vm->config.vcpus; i++)
		if (vm->cpus[i] && vm->cpus[i]->ring)
			count += harvest_ring(vm, vm->cpus[i]);
	if (count)
		kvm_call(vm->fd, KVM_RESET_DIRTY_RINGS, NULL);
}

void kvm_dirty_ring_full(struct kvm_machine *vm)
{
	pthread_mutex_lock(&vm->dirty_lock);
	harvest_locked(vm);
	pthread_mutex_unlock(&vm->dirty_lock);
}

static int set_logging(struct kvm_machine *vm, bool on)
{
	int err = 0;

	for (unsigned i = 0; i < KVM_SLOTS && !err; i++) {
		struct kvm_userspace_memory_region region = vm->slots[i];

		if (!region.memory_size || region.flags & KVM_MEM_READONLY)
			continue;
		region.flags |= on ? KVM_MEM_LOG_DIRTY_PAGES : 0;
		err = kvm_call(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	}
	return err;
}

int kvm_dirty_start(struct accel_vm *accel_vm)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	int err;

	pthread_mutex_lock(&vm->dirty_lock);
	for (unsigned i = 0; i < KVM_SLOTS; i++)
		if (vm->slots[i].memory_size)
			vm->dirty[i] = g_new0(u64, vm->slots[i].memory_size / PAGE_SIZE / 64 + 1);
	err = set_logging(vm, true);
	pthread_mutex_unlock(&vm->dirty_lock);
	if (err)
		kvm_dirty_stop(accel_vm);
	return err;
}

void kvm_dirty_stop(struct accel_vm *accel_vm)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;

	pthread_mutex_lock(&vm->dirty_lock);
	set_logging(vm, false);
	harvest_locked(vm); /* what is left in the rings is of this log, not of the next */
	for (unsigned i = 0; i < KVM_SLOTS; i++)
		g_clear_pointer(&vm->dirty[i], g_free);
	pthread_mutex_unlock(&vm->dirty_lock);
}

static int collect_locked(struct kvm_machine *vm, unsigned slot, u64 *pages)
{
	u64 words = (vm->slots[slot].memory_size / PAGE_SIZE + 63) / 64;
	const struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = vm->dirty[slot] };
	int err = 0;

	if (vm->dirty_rings)
		harvest_locked(vm);
	else
		err = kvm_call(vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (u64 i = 0; i < words && !err; i++) {
		if (vm->dirty[slot][i])
			__atomic_fetch_or(&pages[i], vm->dirty[slot][i], __ATOMIC_RELAXED);
		vm->dirty[slot][i] = 0;
	}
	return err;
}

int kvm_dirty_collect(struct accel_vm *accel_vm, unsigned slot, u64 *pages)
{
	struct kvm_machine *vm = (struct kvm_machine *)accel_vm;
	int err = -EINVAL;

	pthread_mutex_lock(&vm->dirty_lock);
	if (slot < KVM_SLOTS && vm->dirty[slot])
		err = collect_locked(vm, slot, pages);
	pthread_mutex_unlock(&vm->dirty_lock);
	return err;
}
