/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a local APIC, for the two files that are one: lapic.c emulates it,
 * lapic_engine.c stands for one that the engine emulates.
 */
#ifndef LODGE_DEVICE_CHIPSET_LAPIC_H
#define LODGE_DEVICE_CHIPSET_LAPIC_H

#include "machine/vm.h"

#define LAPIC_BASE_DEFAULT 0xfee00000ull

/* Register offsets in the xAPIC page; x2APIC MSR 0x800 + offset / 16. SDM table 11-1 and 11-6. */
enum {
	REG_ID = 0x20,
	REG_VERSION = 0x30,
	REG_TPR = 0x80,
	REG_APR = 0x90,
	REG_PPR = 0xa0,
	REG_EOI = 0xb0,
	REG_LDR = 0xd0,
	REG_DFR = 0xe0,
	REG_SVR = 0xf0,
	REG_ISR = 0x100,
	REG_TMR = 0x180,
	REG_IRR = 0x200,
	REG_ESR = 0x280,
	REG_CMCI = 0x2f0,
	REG_ICR_LOW = 0x300,
	REG_ICR_HIGH = 0x310,
	REG_LVT_TIMER = 0x320,
	REG_LVT_THERMAL = 0x330,
	REG_LVT_PERF = 0x340,
	REG_LVT_LINT0 = 0x350,
	REG_LVT_LINT1 = 0x360,
	REG_LVT_ERROR = 0x370,
	REG_TIMER_INIT = 0x380,
	REG_TIMER_CURRENT = 0x390,
	REG_DIVIDE = 0x3e0,
	REG_SELF_IPI = 0x3f0,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_MASKED        BIT(16)
#define LVT_TIMER_MODE(v) (((v) >> 17) & 3)
#define TIMER_ONE_SHOT    0
#define TIMER_PERIODIC    1
#define TIMER_DEADLINE    2

#define SVR_ENABLED BIT(8)

#define BASE_BSP        BIT(8)
#define BASE_X2APIC     BIT(10)
#define BASE_ENABLE     BIT(11)
#define BASE_ADDRESS(v) ((v)&0xffffff000ull)

#define ESR_SEND_ILLEGAL    BIT(5)
#define ESR_RECEIVE_ILLEGAL BIT(6)
#define ESR_REGISTER        BIT(7)

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800

struct lapic {
	struct device dev;
	u8 index; /* of the vCPU; also the initial APIC ID */

	pthread_mutex_t lock;
	struct vm_timer timer;
	u64 base;
	u32 id; /* xAPIC ID, 8 bits */
	u32 tpr, ldr, dfr, svr, esr, esr_pending, divide;
	u64 icr;
	u32 lvt[LVT_COUNT];
	u32 irr[8], isr[8], tmr[8];
	u32 timer_initial;
	u64 timer_start_ns; /* when the count was last at its initial value */
	u64 tsc_deadline;   /* 0: disarmed */
	bool timer_expired; /* a one-shot count has reached 0 and interrupted */
	bool lint0;         /* level of the PIC's output */
	bool intr_raised;   /* what the vCPU was last told */
	bool engine;        /* the registers are the engine's while the machine runs */
};

static inline struct vcpu *lapic_vcpu(const struct lapic *a)
{
	return a->dev.vm->vcpus[a->index];
}

static inline bool lapic_x2apic(const struct lapic *a)
{
	return (a->base & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}

/* --- lapic.c --- */

unsigned lapic_divider(const struct lapic *a);
u32 lapic_timer_current(const struct lapic *a);
u32 lapic_version(void);

/* --- lapic_engine.c --- */

extern const struct lapic_ops lapic_engine_ops;
/* The registers from the engine, or to it; not while the processor runs. */
void lapic_engine_get(struct lapic *a);
int lapic_engine_put(struct lapic *a);

#endif
