/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of written pages. See dirty.h. */
#include "machine/dirty.h"

#include "accel/accel.h"
#include "machine/vm.h"

#include <errno.h>

u64 vm_dirty_words(const struct vm *vm)
{
	return (vm->memory.bytes / PAGE_SIZE + 63) / 64;
}

/* Devices first: no write of theirs may fall between the two. */
int vm_dirty_start(struct vm *vm, GError **error)
{
	struct guest_memory *mem = &vm->memory;
	int err = -ENOTSUP;

	if (!mem->written)
		mem->written = g_new0(u64, vm_dirty_words(vm));
	__atomic_store_n(&mem->logging, true, __ATOMIC_SEQ_CST);
	if (vm->accel->dirty_start)
		err = vm->accel->dirty_start(vm->accel_vm);
	if (!err)
		return 0;
	__atomic_store_n(&mem->logging, false, __ATOMIC_SEQ_CST);
	g_set_error(error, VM_ERROR, -err,
		    "the %s engine cannot tell which memory a guest writes%s%s", vm->accel->name,
		    err == -ENOTSUP ? "" : ": ", err == -ENOTSUP ? "" : g_strerror(-err));
	return err;
}

void vm_dirty_stop(struct vm *vm)
{
	struct guest_memory *mem = &vm->memory;

	if (!mem->logging)
		return;
	vm->accel->dirty_stop(vm->accel_vm);
	__atomic_store_n(&mem->logging, false, __ATOMIC_SEQ_CST);
	for (u64 i = 0; i < vm_dirty_words(vm); i++)
		__atomic_store_n(&mem->written[i], 0, __ATOMIC_RELAXED);
}

int vm_dirty_collect(struct vm *vm, u64 *pages)
{
	struct guest_memory *mem = &vm->memory;
	struct guest_memory_range range;

	if (!mem->logging)
		return -EINVAL;
	for (u64 i = 0; i < vm_dirty_words(vm); i++)
		if (__atomic_load_n(&mem->written[i], __ATOMIC_RELAXED))
			pages[i] |= __atomic_exchange_n(&mem->written[i], 0, __ATOMIC_SEQ_CST);
	for (unsigned slot = 0; guest_memory_range(mem, slot, &range); slot++) {
		int err = 0;

		if (range.bytes)
			err = vm->accel->dirty_collect(vm->accel_vm, slot,
						       pages + range.offset / PAGE_SIZE / 64);
		if (err)
			return err;
	}
	return 0;
}
