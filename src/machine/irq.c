/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines and messages. See irq.h.
 */
#include "machine/irq.h"

#include "accel/accel.h"
#include "machine/vm.h"

#include <string.h>

void irq_router_init(struct irq_router *router)
{
	memset(router, 0, sizeof(*router));
	pthread_mutex_init(&router->lock, NULL);
}

void irq_router_destroy(struct irq_router *router)
{
	pthread_mutex_destroy(&router->lock);
}

void irq_line_init(struct irq_line *line, struct vm *vm, unsigned gsi)
{
	*line = (struct irq_line){ .vm = vm, .gsi = gsi };
}

/* The PIT's line is ISA interrupt 0 at the PIC and pin 2 at the I/O APIC. The PIC's own pin 2 is
 * its cascade, so no GSI reaches it. */
static void set_gsi_locked(struct irq_router *r, unsigned gsi, bool level)
{
	if (r->pic && gsi < 16)
		r->pic_set(r->pic, gsi == GSI_PIT ? 0 : gsi, level);
	if (r->ioapic)
		r->ioapic_set(r->ioapic, gsi, level);
}

static bool contributes(const struct irq_line *line)
{
	return line->level && !line->cut;
}

/* Changes a line and, if that changes what it contributes, its GSI. */
static void change_locked(struct irq_line *line, bool level, bool cut)
{
	struct irq_router *r = &line->vm->irq;
	bool before = line->counted, after;

	__atomic_store_n(&line->level, level, __ATOMIC_RELAXED);
	line->cut = cut;
	after = line->counted = contributes(line);
	if (after != before &&
	    (after ? r->asserted[line->gsi]++ == 0 : --r->asserted[line->gsi] == 0))
		set_gsi_locked(r, line->gsi, after);
}

void irq_line_set(struct irq_line *line, bool level)
{
	struct irq_router *r = &line->vm->irq;

	if (__atomic_load_n(&line->level, __ATOMIC_RELAXED) == level)
		return;
	pthread_mutex_lock(&r->lock);
	if (line->level != level)
		change_locked(line, level, line->cut);
	pthread_mutex_unlock(&r->lock);
}

void irq_line_restore(struct irq_line *line)
{
	struct irq_router *r = &line->vm->irq;

	pthread_mutex_lock(&r->lock);
	line->counted = contributes(line);
	r->asserted[line->gsi] += line->counted;
	pthread_mutex_unlock(&r->lock);
}

void irq_replace_legacy(struct vm *vm, bool replaced)
{
	struct irq_router *r = &vm->irq;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < ARRAY_LEN(r->legacy); i++)
		if (r->legacy[i] && r->legacy[i]->cut != replaced)
			change_locked(r->legacy[i], r->legacy[i]->level, replaced);
	pthread_mutex_unlock(&r->lock);
}

void irq_restore_legacy(struct vm *vm, bool replaced)
{
	struct irq_router *r = &vm->irq;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < ARRAY_LEN(r->legacy); i++) {
		struct irq_line *line = r->legacy[i];

		if (!line)
			continue;
		line->cut = replaced;
		if (line->counted && !contributes(line)) {
			line->counted = false;
			r->asserted[line->gsi]--;
		}
	}
	pthread_mutex_unlock(&r->lock);
}

/* SDM vol. 3 section 11.11, message signalled interrupts. */
void vm_msi(struct vm *vm, u64 address, u32 data)
{
	const struct irq_message message = {
		.dest = (address >> 12) & 0xff,
		.logical = address & BIT(2),
		.vector = data & 0xff,
		.mode = (data >> 8) & 7,
		.level_triggered = data & BIT(15),
	};

	if ((address & ~0xfffffull) == 0xfee00000ull && vm->irq.lapic)
		vm->irq.lapic->deliver(vm, &message);
}

bool vm_engine_has_lapics(const struct vm *vm)
{
	return vm->accel->has_lapic;
}

void vm_engine_msi(struct vm *vm, u64 address, u32 data)
{
	vm->accel->msi(vm->accel_vm, address, data);
}

void vm_engine_level_pin(struct vm *vm, unsigned pin, u64 address, u32 data)
{
	vm->accel->level_pin(vm->accel_vm, pin, address, data);
}
