/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A local APIC that the engine emulates. While the machine runs only messages, the PIC's line and
 * the board's NMI pass through here. What lapic.c would hold is fetched to be saved and put there
 * after a reset or a load, so that the saved state is the same whoever emulates it.
 */
#include "cpu/arch.h"
#include "device/chipset/lapic.h"

#include <string.h>

/* SDM vol. 3 section 11.11. */
static u64 message_address(const struct irq_message *m)
{
	return LAPIC_BASE_DEFAULT | (u64)(m->dest & 0xff) << 12 | (m->logical ? BIT(2) : 0);
}

static u32 message_data(const struct irq_message *m)
{
	return m->vector | (u32)m->mode << 8 | (m->level_triggered ? BIT(14) | BIT(15) : 0);
}

static void deliver(struct vm *vm, const struct irq_message *m)
{
	vm_engine_msi(vm, message_address(m), message_data(m));
}

static void level_pin(struct vm *vm, unsigned pin, const struct irq_message *m)
{
	vm_engine_level_pin(vm, pin, message_address(m), message_data(m));
}

static void lint0(struct device *dev, bool level)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	pthread_mutex_lock(&a->lock);
	a->lint0 = level;
	vcpu_set_interrupt(lapic_vcpu(a), level);
	pthread_mutex_unlock(&a->lock);
}

static int ack(struct device *dev)
{
	struct irq_router *irq = &dev->vm->irq;

	return irq->pic ? irq->pic_ack(irq->pic) : -1;
}

static void nmi(struct device *dev)
{
	vcpu_nmi(lapic_vcpu(container_of(dev, struct lapic, dev)));
}

/* Its registers are the engine's: nobody asks here. */

static u64 base(struct device *dev)
{
	return UINT64_MAX;
}

static void mmio(struct device *dev, u32 offset, unsigned size, u64 *value, bool write)
{
	if (!write)
		*value = UINT64_MAX;
}

static bool msr(struct device *dev, u32 number, u64 *value, bool write)
{
	return false;
}

static u64 cr8(struct device *dev, u64 value, bool write)
{
	return 0;
}

const struct lapic_ops lapic_engine_ops = {
	.mmio = mmio,
	.msr = msr,
	.ack = ack,
	.cr8 = cr8,
	.base = base,
	.deliver = deliver,
	.lint0 = lint0,
	.nmi = nmi,
	.level_pin = level_pin,
};

/* State. */

static void put_vectors(u32 *regs, unsigned first, const u32 map[8])
{
	for (unsigned i = 0; i < 8; i++)
		regs[first / 16 + i] = map[i];
}

static void get_vectors(const u32 *regs, unsigned first, u32 map[8])
{
	for (unsigned i = 0; i < 8; i++)
		map[i] = regs[first / 16 + i];
}

/* Errors that software has not asked for yet: an engine has one register for both. */
static void fill(const struct lapic *a, struct x86_lapic *l)
{
	u32 *r = l->regs;

	*l = (struct x86_lapic){ .base = a->base, .tsc_deadline = a->tsc_deadline };
	r[REG_ID / 16] = (lapic_x2apic(a) ? a->index : a->id) << 24;
	r[REG_VERSION / 16] = lapic_version();
	r[REG_TPR / 16] = a->tpr;
	r[REG_LDR / 16] = a->ldr;
	r[REG_DFR / 16] = a->dfr;
	r[REG_SVR / 16] = a->svr;
	put_vectors(r, REG_ISR, a->isr);
	put_vectors(r, REG_TMR, a->tmr);
	put_vectors(r, REG_IRR, a->irr);
	r[REG_ESR / 16] = a->esr;
	r[REG_ICR_LOW / 16] = a->icr;
	r[REG_ICR_HIGH / 16] = a->icr >> 32;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		r[REG_LVT_TIMER / 16 + i] = a->lvt[i];
	r[REG_TIMER_INIT / 16] = a->timer_initial;
	r[REG_TIMER_CURRENT / 16] = lapic_timer_current(a);
	r[REG_DIVIDE / 16] = a->divide;
}

/* The timer's start is where it would have to have been for the count to be what it is. */
static void take_timer(struct lapic *a, const u32 *r)
{
	u32 current = r[REG_TIMER_CURRENT / 16];
	u64 gone;

	a->divide = r[REG_DIVIDE / 16] & 0xb;
	a->timer_initial = r[REG_TIMER_INIT / 16];
	gone = (u64)(a->timer_initial - MIN(current, a->timer_initial)) * lapic_divider(a);
	a->timer_start_ns =
		vm_clock_now(&a->dev.vm->clock) - mul_div_u64(gone, 1000000000, LAPIC_HZ);
	a->timer_expired = LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_ONE_SHOT && !current;
}

void lapic_engine_get(struct lapic *a)
{
	struct x86_lapic l = { 0 };
	const u32 *r = l.regs;

	vcpu_get_lapic(lapic_vcpu(a), &l);
	pthread_mutex_lock(&a->lock);
	a->base = l.base;
	a->tsc_deadline = l.tsc_deadline;
	a->id = r[REG_ID / 16] >> 24;
	a->tpr = r[REG_TPR / 16];
	a->ldr = r[REG_LDR / 16];
	a->dfr = r[REG_DFR / 16];
	a->svr = r[REG_SVR / 16];
	get_vectors(r, REG_ISR, a->isr);
	get_vectors(r, REG_TMR, a->tmr);
	get_vectors(r, REG_IRR, a->irr);
	a->esr = r[REG_ESR / 16];
	a->esr_pending = 0;
	a->icr = r[REG_ICR_LOW / 16] | (u64)r[REG_ICR_HIGH / 16] << 32;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		a->lvt[i] = r[REG_LVT_TIMER / 16 + i];
	take_timer(a, r);
	pthread_mutex_unlock(&a->lock);
}

int lapic_engine_put(struct lapic *a)
{
	struct x86_lapic l;
	bool level;

	pthread_mutex_lock(&a->lock);
	fill(a, &l);
	level = a->lint0;
	pthread_mutex_unlock(&a->lock);
	vcpu_set_interrupt(lapic_vcpu(a), level);
	return vcpu_set_lapic(lapic_vcpu(a), &l);
}
