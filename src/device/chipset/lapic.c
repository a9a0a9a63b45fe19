/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC of one processor: xAPIC and x2APIC, SDM vol. 3 chapter 11 ("SDM" below).
 *
 *   messages (MSI, I/O APIC, IPI) -> IRR --priority > PPR--> the vCPU's interrupt request -> ack:
 * IRR -> ISR PIC -> LINT0 as ExtINT ------------------------------^
 *
 * Always holds: the vCPU's interrupt request is raised at the vCPU exactly when ack would return a
 * vector; update_locked() restores that after every change. One lock for each APIC; it is never
 * held while another APIC, the I/O APIC or the PIC is called.
 *
 * Where the engine has local APICs of its own, this file only keeps their registers while they are
 * saved or loaded: lapic_engine.c.
 *
 * The timer counts at LAPIC_HZ divided as programmed; in TSC-deadline mode it compares with the
 * guest's TSC. SMIs are dropped: there is no system-management mode.
 */
#include "device/chipset/lapic.h"

#include "base/log.h"
#include "state/state.h"

#include <string.h>

/* Hardware-enabled by its base MSR and software-enabled by its spurious vector register. */
static bool enabled(const struct lapic *a)
{
	return (a->base & BASE_ENABLE) && (a->svr & SVR_ENABLED);
}

/* Vector bitmaps. */

static bool bit_test(const u32 map[8], u8 vector)
{
	return map[vector / 32] & (1u << vector % 32);
}

static void bit_set(u32 map[8], u8 vector)
{
	map[vector / 32] |= 1u << vector % 32;
}

static void bit_clear(u32 map[8], u8 vector)
{
	map[vector / 32] &= ~(1u << vector % 32);
}

static int bit_highest(const u32 map[8])
{
	for (int i = 7; i >= 0; i--)
		if (map[i])
			return 32 * i + 31 - __builtin_clz(map[i]);
	return -1;
}

/* SDM 11.8.3.1: the higher class of task and in-service interrupt. */
static u32 ppr(const struct lapic *a)
{
	int isr = bit_highest(a->isr);
	u32 isr_class = isr < 0 ? 0 : isr & 0xf0;

	return (a->tpr & 0xf0) >= isr_class ? a->tpr : isr_class;
}

/* The pending vector that priority lets through, or -1. */
static int deliverable(const struct lapic *a)
{
	int irr = enabled(a) ? bit_highest(a->irr) : -1;

	return irr >= 0 && (irr & 0xf0) > (int)(ppr(a) & 0xf0) ? irr : -1;
}

/* Does the PIC reach this processor? With the APIC disabled INTR is wired through (SDM 11.4.3);
 * enabled, LINT0 decides. */
static bool extint_pending(const struct lapic *a)
{
	if (!a->lint0)
		return false;
	if (!(a->base & BASE_ENABLE))
		return a->index == 0;
	return !(a->lvt[LVT_LINT0] & LVT_MASKED) && ((a->lvt[LVT_LINT0] >> 8) & 7) == IRQ_EXTINT;
}

static void update_locked(struct lapic *a)
{
	bool raise = deliverable(a) >= 0 || extint_pending(a);

	if (raise == a->intr_raised || a->engine)
		return;
	a->intr_raised = raise;
	vcpu_set_interrupt(lapic_vcpu(a), raise);
}

static void error_locked(struct lapic *a, u32 bits);

static void accept_fixed_locked(struct lapic *a, u8 vector, bool level_triggered)
{
	if (vector < 16) {
		error_locked(a, ESR_RECEIVE_ILLEGAL);
		return;
	}
	if (level_triggered)
		bit_set(a->tmr, vector);
	else
		bit_clear(a->tmr, vector);
	bit_set(a->irr, vector);
	update_locked(a);
}

static void lvt_fire_locked(struct lapic *a, unsigned lvt)
{
	u32 entry = a->lvt[lvt];

	if ((entry & LVT_MASKED) || !enabled(a))
		return;
	if (lvt == LVT_TIMER || lvt == LVT_ERROR || ((entry >> 8) & 7) == IRQ_FIXED)
		accept_fixed_locked(a, entry & 0xff, false);
	else if (((entry >> 8) & 7) == IRQ_NMI)
		vcpu_nmi(lapic_vcpu(a));
}

/* SDM 11.5.3: errors gather until software writes the ESR. An error entry with an illegal vector
 * of its own must not recurse. */
static void error_locked(struct lapic *a, u32 bits)
{
	if (a->esr_pending & bits)
		return;
	a->esr_pending |= bits;
	lvt_fire_locked(a, LVT_ERROR);
}

/* The timer. */

unsigned lapic_divider(const struct lapic *a)
{
	unsigned code = (a->divide & 3) | ((a->divide >> 1) & 4);

	return code == 7 ? 1 : 2u << code;
}

static u64 period_ns(const struct lapic *a)
{
	return mul_div_u64((u64)a->timer_initial * lapic_divider(a), 1000000000, LAPIC_HZ);
}

u32 lapic_timer_current(const struct lapic *a)
{
	u64 elapsed, ticks;

	if (!a->timer_initial || LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_DEADLINE)
		return 0;
	elapsed = vm_clock_now(&a->dev.vm->clock) - a->timer_start_ns;
	ticks = mul_div_u64(elapsed, LAPIC_HZ, 1000000000) / lapic_divider(a);
	if (LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_PERIODIC)
		return a->timer_initial - ticks % a->timer_initial;
	return ticks >= a->timer_initial ? 0 : a->timer_initial - ticks;
}

static void arm_deadline_locked(struct lapic *a)
{
	struct vm *vm = a->dev.vm;
	u64 now = vcpu_tsc(lapic_vcpu(a)), ns = 0;

	if (a->tsc_deadline > now) {
		u64 delta = a->tsc_deadline - now;

		/* Beyond a century the product no longer matters. */
		if (delta > BIT(62))
			delta = BIT(62);
		ns = mul_div_u64(delta, 1000000000, vm_tsc_hz(vm)) + 1;
	}
	vm_timer_arm(&vm->clock, &a->timer, vm_clock_now(&vm->clock) + ns);
}

/* Sets the machine's timer to what the registers say. */
static void arm_locked(struct lapic *a)
{
	struct vm_clock *clock = &a->dev.vm->clock;
	unsigned mode = LVT_TIMER_MODE(a->lvt[LVT_TIMER]);
	u64 now, period;

	if (mode == TIMER_DEADLINE && a->tsc_deadline) {
		arm_deadline_locked(a);
	} else if (mode <= TIMER_PERIODIC && a->timer_initial) {
		now = vm_clock_now(clock);
		period = period_ns(a);
		if (mode == TIMER_PERIODIC && period && now >= a->timer_start_ns + period)
			vm_timer_arm(clock, &a->timer,
				     now + period - (now - a->timer_start_ns) % period);
		else if (mode == TIMER_ONE_SHOT && a->timer_expired)
			vm_timer_disarm(clock, &a->timer);
		else
			vm_timer_arm(clock, &a->timer, a->timer_start_ns + period);
	} else {
		vm_timer_disarm(clock, &a->timer);
	}
}

/* A periodic timer faster than the host can follow would keep the clock thread busy for ever. */
#define PERIOD_MIN_NS 50000

/* True: it was due. */
static bool deadline_due_locked(struct lapic *a)
{
	if (!a->tsc_deadline || vcpu_tsc(lapic_vcpu(a)) < a->tsc_deadline)
		return false;
	a->tsc_deadline = 0;
	lvt_fire_locked(a, LVT_TIMER);
	return true;
}

static bool count_due_locked(struct lapic *a)
{
	struct vm_clock *clock = &a->dev.vm->clock;
	u64 now = vm_clock_now(clock), period;

	if (!a->timer_initial || now < a->timer_start_ns + period_ns(a) || a->timer_expired)
		return false;
	lvt_fire_locked(a, LVT_TIMER);
	if (LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_PERIODIC) {
		/* Missed periods are dropped, the phase stays. */
		period = MAX(period_ns(a), PERIOD_MIN_NS);
		a->timer_start_ns += (now - a->timer_start_ns) / period * period;
		vm_timer_arm(clock, &a->timer, a->timer_start_ns + period);
	} else {
		a->timer_expired = true;
	}
	return true;
}

/* May come early, when the registers changed while it was on its way. */
static void timer_fire(void *opaque)
{
	struct lapic *a = opaque;
	bool due;

	pthread_mutex_lock(&a->lock);
	due = LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_DEADLINE ? deadline_due_locked(a)
								  : count_due_locked(a);
	if (!due && !vm_timer_armed(&a->dev.vm->clock, &a->timer))
		arm_locked(a);
	pthread_mutex_unlock(&a->lock);
}

/* Inter-processor interrupts and other messages. */

/* SDM 11.6.2. In x2APIC mode the logical ID is cluster (ID >> 4) and bit (ID & 15). */
static bool matches_logical(const struct lapic *a, u32 dest)
{
	if (lapic_x2apic(a)) {
		if (dest == UINT32_MAX || dest == 0xff)
			return true;
		return dest >> 16 == a->ldr >> 16 && (dest & a->ldr & 0xffff);
	}
	if (dest == 0xff)
		return true;
	if (a->dfr >> 28 == 0xf)
		return dest & (a->ldr >> 24);
	return dest >> 4 == a->ldr >> 28 && (dest & (a->ldr >> 24) & 0xf);
}

/* Reads without the lock: a destination that is being renumbered has no right answer anyway. */
static bool matches(const struct lapic *a, const struct irq_message *m)
{
	if (!(a->base & BASE_ENABLE))
		return m->mode == IRQ_INIT && m->dest == a->id;
	if (m->logical)
		return matches_logical(a, m->dest);
	return m->dest == UINT32_MAX || m->dest == 0xff ||
	       m->dest == (lapic_x2apic(a) ? a->index : a->id);
}

static void reset_locked(struct lapic *a);

static void accept_message(struct lapic *a, const struct irq_message *m)
{
	struct vcpu *vcpu = lapic_vcpu(a);

	switch (m->mode) {
	case IRQ_FIXED:
	case IRQ_LOWEST:
		pthread_mutex_lock(&a->lock);
		if (enabled(a))
			accept_fixed_locked(a, m->vector, m->level_triggered);
		pthread_mutex_unlock(&a->lock);
		break;
	case IRQ_NMI: vcpu_nmi(vcpu); break;
	case IRQ_INIT:
		pthread_mutex_lock(&a->lock);
		reset_locked(a);
		pthread_mutex_unlock(&a->lock);
		vcpu_init(vcpu);
		break;
	case IRQ_SIPI: vcpu_sipi(vcpu, m->vector); break;
	case IRQ_EXTINT: /* not from messages; the PIC has its wire */
	default: log_guest_once("lapic", "guest sent an interrupt of delivery mode %u", m->mode);
	}
}

static struct lapic *lapic_of(struct vm *vm, unsigned vcpu)
{
	return container_of(vm->vcpus[vcpu]->lapic, struct lapic, dev);
}

static void deliver(struct vm *vm, const struct irq_message *m)
{
	struct lapic *lowest = NULL;

	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct lapic *a = lapic_of(vm, i);

		if (!matches(a, m))
			continue;
		if (m->mode != IRQ_LOWEST)
			accept_message(a, m);
		else if (enabled(a) && (!lowest || ppr(a) < ppr(lowest)))
			lowest = a;
	}
	if (lowest)
		accept_message(lowest, m);
}

static void send_ipi(struct lapic *a, u64 icr)
{
	struct vm *vm = a->dev.vm;
	const struct irq_message m = {
		.dest = lapic_x2apic(a) ? icr >> 32 : icr >> 56,
		.vector = icr & 0xff,
		.mode = (icr >> 8) & 7,
		.logical = icr & BIT(11),
	};
	unsigned shorthand = (icr >> 18) & 3;

	/* INIT level de-assert only synchronises arbitration IDs, which nobody has any more. */
	if (m.mode == IRQ_INIT && !(icr & BIT(14)) && (icr & BIT(15)))
		return;
	if ((m.mode == IRQ_FIXED || m.mode == IRQ_LOWEST) && m.vector < 16) {
		pthread_mutex_lock(&a->lock);
		error_locked(a, ESR_SEND_ILLEGAL);
		pthread_mutex_unlock(&a->lock);
		return;
	}
	switch (shorthand) {
	case 0: deliver(vm, &m); break;
	case 1: accept_message(a, &m); break;
	default:
		for (unsigned i = 0; i < vm->vcpu_count; i++)
			if (shorthand == 2 || i != a->index)
				accept_message(lapic_of(vm, i), &m);
	}
}

static void eoi(struct lapic *a)
{
	struct irq_router *irq = &a->dev.vm->irq;
	bool level = false;
	int vector;

	pthread_mutex_lock(&a->lock);
	vector = bit_highest(a->isr);
	if (vector >= 0) {
		bit_clear(a->isr, vector);
		level = bit_test(a->tmr, vector);
		update_locked(a);
	}
	pthread_mutex_unlock(&a->lock);
	if (level && irq->ioapic)
		irq->ioapic_eoi(irq->ioapic, vector);
}

/* Registers. */

u32 lapic_version(void)
{
	return 0x14 | (LVT_COUNT - 1) << 16;
}

static bool read_locked(struct lapic *a, u32 reg, u32 *value)
{
	switch (reg) {
	case REG_ID: *value = lapic_x2apic(a) ? a->index : a->id << 24; break;
	case REG_VERSION: *value = lapic_version(); break;
	case REG_TPR: *value = a->tpr; break;
	case REG_APR: *value = 0; break;
	case REG_PPR: *value = ppr(a); break;
	case REG_LDR: *value = a->ldr; break;
	case REG_DFR: *value = a->dfr; break;
	case REG_SVR: *value = a->svr; break;
	case REG_ISR ... REG_ISR + 0x70: *value = a->isr[(reg - REG_ISR) / 16]; break;
	case REG_TMR ... REG_TMR + 0x70: *value = a->tmr[(reg - REG_TMR) / 16]; break;
	case REG_IRR ... REG_IRR + 0x70: *value = a->irr[(reg - REG_IRR) / 16]; break;
	case REG_ESR: *value = a->esr; break;
	case REG_ICR_LOW: *value = a->icr; break;
	case REG_ICR_HIGH: *value = a->icr >> 32; break;
	case REG_LVT_TIMER ... REG_LVT_ERROR: *value = a->lvt[(reg - REG_LVT_TIMER) / 16]; break;
	case REG_TIMER_INIT: *value = a->timer_initial; break;
	case REG_TIMER_CURRENT: *value = lapic_timer_current(a); break;
	case REG_DIVIDE: *value = a->divide; break;
	default: *value = 0; return false;
	}
	return true;
}

static void write_lvt_locked(struct lapic *a, unsigned lvt, u32 value)
{
	static const u32 writable[LVT_COUNT] = {
		[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
		[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
	};
	u32 old = a->lvt[lvt];

	value &= writable[lvt];
	if (!(a->svr & SVR_ENABLED))
		value |= LVT_MASKED;
	a->lvt[lvt] = value;
	if (lvt == LVT_TIMER && LVT_TIMER_MODE(old) != LVT_TIMER_MODE(value)) {
		/* SDM 11.5.4.1: changing to or from TSC-deadline disarms. */
		if (LVT_TIMER_MODE(old) == TIMER_DEADLINE ||
		    LVT_TIMER_MODE(value) == TIMER_DEADLINE) {
			a->tsc_deadline = 0;
			a->timer_initial = 0;
		}
		arm_locked(a);
	}
	update_locked(a);
}

static void write_svr_locked(struct lapic *a, u32 value)
{
	a->svr = value & 0x1ff;
	if (!(a->svr & SVR_ENABLED))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			a->lvt[i] |= LVT_MASKED;
	update_locked(a);
}

/* False: the register cannot be written. EOI, ICR and self IPI are not here: they call others. */
static bool write_locked(struct lapic *a, u32 reg, u32 value)
{
	switch (reg) {
	case REG_ID:
		if (lapic_x2apic(a))
			return false;
		a->id = value >> 24;
		break;
	case REG_TPR:
		a->tpr = value & 0xff;
		update_locked(a);
		break;
	case REG_LDR:
		if (lapic_x2apic(a))
			return false;
		a->ldr = value & 0xff000000;
		break;
	case REG_DFR:
		if (lapic_x2apic(a))
			return false;
		a->dfr = value | 0x0fffffff;
		break;
	case REG_SVR: write_svr_locked(a, value); break;
	case REG_ESR:
		a->esr = a->esr_pending;
		a->esr_pending = 0;
		break;
	case REG_LVT_TIMER ... REG_LVT_ERROR:
		write_lvt_locked(a, (reg - REG_LVT_TIMER) / 16, value);
		break;
	case REG_TIMER_INIT:
		if (LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_DEADLINE)
			break;
		a->timer_initial = value;
		a->timer_expired = false;
		a->timer_start_ns = vm_clock_now(&a->dev.vm->clock);
		arm_locked(a);
		break;
	case REG_DIVIDE:
		a->divide = value & 0xb;
		arm_locked(a);
		break;
	default: return false;
	}
	return true;
}

static void write_icr(struct lapic *a, u64 value, u64 mask)
{
	u64 icr;

	pthread_mutex_lock(&a->lock);
	a->icr = icr = (a->icr & ~mask) | (value & mask & ~BIT(12)); /* never busy */
	pthread_mutex_unlock(&a->lock);
	if (mask & 0xff)
		send_ipi(a, icr);
}

static bool write_register(struct lapic *a, u32 reg, u32 value)
{
	bool ok;

	switch (reg) {
	case REG_EOI: eoi(a); return true;
	case REG_ICR_LOW: write_icr(a, value, 0xffffffff); return true;
	case REG_ICR_HIGH: write_icr(a, (u64)value << 32, 0xffffffff00000000); return true;
	}
	pthread_mutex_lock(&a->lock);
	ok = write_locked(a, reg, value);
	if (!ok && !lapic_x2apic(a))
		error_locked(a, ESR_REGISTER);
	pthread_mutex_unlock(&a->lock);
	return ok;
}

/* Registers are 32 bits wide on 16-byte boundaries; other accesses are undefined (SDM 11.4.1):
 * aligned parts of a register read as such, everything else as 0. */
static void lapic_mmio(struct device *dev, u32 offset, unsigned size, u64 *value, bool write)
{
	struct lapic *a = container_of(dev, struct lapic, dev);
	u32 reg = offset & ~15u, word = 0;

	if (lapic_x2apic(a)) {
		if (!write)
			*value = UINT64_MAX;
		return;
	}
	if (write) {
		if (!(offset & 15) && size >= 4)
			write_register(a, reg, *value);
		return;
	}
	if ((offset & 15) + size <= 4) {
		pthread_mutex_lock(&a->lock);
		read_locked(a, reg, &word);
		pthread_mutex_unlock(&a->lock);
	}
	*value = word >> (8 * (offset & 3));
}

static bool write_base(struct lapic *a, u64 value)
{
	u64 modes = value & (BASE_ENABLE | BASE_X2APIC);
	u64 old = a->base & (BASE_ENABLE | BASE_X2APIC);

	/* SDM 11.12.5: reserved bits, x2APIC without enable, and leaving x2APIC but through off. */
	if (value & ~(0xffffff000ull | BASE_ENABLE | BASE_X2APIC | BASE_BSP) ||
	    modes == BASE_X2APIC)
		return false;
	if (old == (BASE_ENABLE | BASE_X2APIC) && modes == BASE_ENABLE)
		return false;
	if (old == 0 && modes == (BASE_ENABLE | BASE_X2APIC))
		return false;
	pthread_mutex_lock(&a->lock);
	if (old && !modes)
		reset_locked(a);
	a->base = BASE_ADDRESS(value) | modes | (a->base & BASE_BSP);
	if (lapic_x2apic(a) && !(old & BASE_X2APIC)) {
		a->ldr = (u32)(a->index >> 4) << 16 | 1u << (a->index & 15);
		a->dfr = UINT32_MAX;
	}
	update_locked(a);
	pthread_mutex_unlock(&a->lock);
	return true;
}

static bool deadline_msr(struct lapic *a, u64 *value, bool write)
{
	pthread_mutex_lock(&a->lock);
	if (!write) {
		*value = a->tsc_deadline;
	} else if (LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == TIMER_DEADLINE) {
		a->tsc_deadline = *value;
		arm_locked(a);
	}
	pthread_mutex_unlock(&a->lock);
	return true;
}

/* SDM table 11-6: which registers are read-only, write-only or absent is enforced by #GP. */
static bool x2apic_write(struct lapic *a, u32 reg, u64 value)
{
	switch (reg) {
	case REG_ICR_LOW: write_icr(a, value, UINT64_MAX); return true;
	case REG_ICR_HIGH: return false;
	case REG_EOI:
	case REG_ESR:
		if (value)
			return false;
		break;
	case REG_SELF_IPI:
		if (value >> 8)
			return false;
		accept_message(a, &(struct irq_message){ .vector = value });
		return true;
	}
	return !(value >> 32) && write_register(a, reg, value);
}

static bool x2apic_read(struct lapic *a, u32 reg, u64 *value)
{
	u32 word;
	bool ok;

	if (reg == REG_DFR || reg == REG_ICR_HIGH || reg == REG_APR || reg == REG_EOI)
		return false;
	pthread_mutex_lock(&a->lock);
	ok = read_locked(a, reg, &word);
	*value = reg == REG_ICR_LOW ? a->icr : word;
	pthread_mutex_unlock(&a->lock);
	return ok;
}

static bool lapic_msr(struct device *dev, u32 msr, u64 *value, bool write)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	if (msr == MSR_APIC_BASE) {
		if (write)
			return write_base(a, *value);
		*value = a->base;
		return true;
	}
	if (msr == MSR_TSC_DEADLINE)
		return deadline_msr(a, value, write);
	if (msr < MSR_X2APIC || msr >= MSR_X2APIC + 0x100 || !lapic_x2apic(a))
		return false;
	msr = (msr - MSR_X2APIC) << 4;
	return write ? x2apic_write(a, msr, *value) : x2apic_read(a, msr, value);
}

static u64 lapic_cr8(struct device *dev, u64 value, bool write)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	pthread_mutex_lock(&a->lock);
	if (write) {
		a->tpr = (value & 0xf) << 4;
		update_locked(a);
	}
	value = a->tpr >> 4;
	pthread_mutex_unlock(&a->lock);
	return value;
}

static int lapic_ack(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);
	struct irq_router *irq = &dev->vm->irq;
	bool extint;
	int vector;

	pthread_mutex_lock(&a->lock);
	extint = extint_pending(a);
	vector = extint ? -1 : deliverable(a);
	if (vector >= 0) {
		bit_clear(a->irr, vector);
		bit_set(a->isr, vector);
	}
	update_locked(a);
	pthread_mutex_unlock(&a->lock);
	return extint && irq->pic ? irq->pic_ack(irq->pic) : vector;
}

static u64 lapic_base(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);
	u64 base = __atomic_load_n(&a->base, __ATOMIC_RELAXED);

	return base & BASE_ENABLE ? BASE_ADDRESS(base) : UINT64_MAX;
}

static void lapic_lint0(struct device *dev, bool level)
{
	struct lapic *a = container_of(dev, struct lapic, dev);
	bool rising;

	pthread_mutex_lock(&a->lock);
	rising = level && !a->lint0;
	a->lint0 = level;
	if (rising && ((a->lvt[LVT_LINT0] >> 8) & 7) != IRQ_EXTINT)
		lvt_fire_locked(a, LVT_LINT0);
	update_locked(a);
	pthread_mutex_unlock(&a->lock);
}

/* The board's NMI arrives at LINT1 of every processor. */
static void lapic_nmi(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	pthread_mutex_lock(&a->lock);
	lvt_fire_locked(a, LVT_LINT1);
	pthread_mutex_unlock(&a->lock);
}

static const struct lapic_ops lapic_ops = {
	.mmio = lapic_mmio,
	.msr = lapic_msr,
	.ack = lapic_ack,
	.cr8 = lapic_cr8,
	.base = lapic_base,
	.deliver = deliver,
	.lint0 = lapic_lint0,
	.nmi = lapic_nmi,
};

/* INIT and power-on; the ID and the base MSR survive INIT (SDM 11.4.7). */
static void reset_locked(struct lapic *a)
{
	a->tpr = a->ldr = a->esr = a->esr_pending = a->divide = 0;
	a->dfr = UINT32_MAX;
	a->svr = 0xff;
	a->icr = 0;
	memset(a->irr, 0, sizeof(a->irr));
	memset(a->isr, 0, sizeof(a->isr));
	memset(a->tmr, 0, sizeof(a->tmr));
	for (unsigned i = 0; i < LVT_COUNT; i++)
		a->lvt[i] = LVT_MASKED;
	a->timer_initial = 0;
	a->timer_start_ns = 0;
	a->timer_expired = false;
	a->tsc_deadline = 0;
	vm_timer_disarm(&a->dev.vm->clock, &a->timer);
	if (lapic_x2apic(a))
		a->ldr = (u32)(a->index >> 4) << 16 | 1u << (a->index & 15);
	update_locked(a);
}

static void lapic_reset(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	pthread_mutex_lock(&a->lock);
	a->id = a->index;
	a->base = LAPIC_BASE_DEFAULT | BASE_ENABLE | (a->index == 0 ? BASE_BSP : 0);
	a->lint0 = false;
	reset_locked(a);
	pthread_mutex_unlock(&a->lock);
	if (a->engine)
		lapic_engine_put(a);
}

/* Whoever has the registers while the machine runs: this file, or the engine. */
static void attach(struct lapic *a)
{
	struct vm *vm = a->dev.vm;

	a->engine = vm_engine_has_lapics(vm);
	vm->irq.lapic = a->engine ? &lapic_engine_ops : &lapic_ops;
	lapic_vcpu(a)->timer = a->engine ? NULL : &a->timer;
	if (a->engine)
		vm_timer_disarm(&vm->clock, &a->timer);
}

static int lapic_realize(struct device *dev, GError **error)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	pthread_mutex_init(&a->lock, NULL);
	vm_timer_init(&a->timer, timer_fire, a);
	dev->vm->vcpus[a->index]->lapic = dev;
	attach(a);
	return 0;
}

static void lapic_pre_save(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	if (a->engine)
		lapic_engine_get(a);
}

static int lapic_post_load(struct device *dev)
{
	struct lapic *a = container_of(dev, struct lapic, dev);

	attach(a);
	if (a->engine)
		return lapic_engine_put(a);
	pthread_mutex_lock(&a->lock);
	a->intr_raised = false;
	vcpu_set_interrupt(lapic_vcpu(a), false);
	update_locked(a);
	arm_locked(a);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static void lapic_engine_changed(struct device *dev)
{
	lapic_post_load(dev);
}

static void lapic_destroy(struct device *dev)
{
	pthread_mutex_destroy(&container_of(dev, struct lapic, dev)->lock);
}

static const struct state_field lapic_state[] = {
	STATE(struct lapic, base),          STATE(struct lapic, id),
	STATE(struct lapic, tpr),           STATE(struct lapic, ldr),
	STATE(struct lapic, dfr),           STATE(struct lapic, svr),
	STATE(struct lapic, esr),           STATE(struct lapic, esr_pending),
	STATE(struct lapic, divide),        STATE(struct lapic, icr),
	STATE(struct lapic, lvt),           STATE(struct lapic, irr),
	STATE(struct lapic, isr),           STATE(struct lapic, tmr),
	STATE(struct lapic, timer_initial), STATE(struct lapic, timer_start_ns),
	STATE(struct lapic, tsc_deadline),  STATE(struct lapic, timer_expired),
	STATE(struct lapic, lint0),         STATE_END,
};

static const struct device_option lapic_options[] = {
	{ .name = "index",
	  .kind = OPTION_U8,
	  .offset = offsetof(struct lapic, index),
	  .max = VM_VCPUS_MAX - 1,
	  .help = "the vCPU it belongs to" },
	{ .name = NULL },
};

const struct device_type device_lapic = {
	.name = "lapic",
	.help = "local APIC of one processor",
	.bytes = sizeof(struct lapic),
	.flags = DEVICE_BOARD,
	.options = lapic_options,
	.state = lapic_state,
	.realize = lapic_realize,
	.reset = lapic_reset,
	.pre_save = lapic_pre_save,
	.engine_changed = lapic_engine_changed,
	.post_load = lapic_post_load,
	.destroy = lapic_destroy,
};
