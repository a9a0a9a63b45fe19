/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How an interrupt finds its way: lines by global system interrupt number (GSI), and messages.
 *
 *   device --irq_line_set--> GSI 0..23 --+--> PIC pin (GSI 0..15)      --> INTR of the boot CPU
 *                                        +--> I/O APIC pin (GSI; ISA interrupt 0 arrives at 2)
 *   device --vm_msi--------> local APICs <---- I/O APIC
 *
 * The controllers are devices; they put their functions into struct irq_router when realized.
 * A GSI is the OR of its lines, so devices may share one.
 *
 * Locks, outermost first: a device's own, the router's, PIC or I/O APIC, local APIC. Functions
 * below may therefore be called with the device's lock held, from any thread.
 */
#ifndef LODGE_MACHINE_IRQ_H
#define LODGE_MACHINE_IRQ_H

#include "base/types.h"
#include <pthread.h>

struct device;
struct vm;

#define GSI_COUNT    24
#define GSI_PIT      2 /* ISA interrupt 0, as the MADT's override says */
#define GSI_RTC      8
#define GSI_SCI      9
#define GSI_PCI_BASE 16 /* eight shared PCI lines */

/* One device's connection to a GSI; embed it in the device. */
struct irq_line {
	struct vm *vm;
	u8 gsi;
	bool level;
	bool cut;     /* disconnected: counts as low */
	bool counted; /* it is one of those that hold the GSI high */
};

/* An interrupt message between controllers: what an MSI, an I/O APIC entry or an IPI says. */
struct irq_message {
	u32 dest;
	u8 vector;
	u8 mode; /* delivery mode, SDM vol. 3 table 11-18 */
	bool logical, level_triggered;
};

enum {
	IRQ_FIXED = 0,
	IRQ_LOWEST = 1,
	IRQ_SMI = 2,
	IRQ_NMI = 4,
	IRQ_INIT = 5,
	IRQ_SIPI = 6,
	IRQ_EXTINT = 7
};

/* What the machine asks of the local APICs; @lapic is the device of one vCPU. */
struct lapic_ops {
	void (*mmio)(struct device *lapic, u32 offset, unsigned size, u64 *value, bool write);
	bool (*msr)(struct device *lapic, u32 msr, u64 *value, bool write); /* false: #GP */
	int (*ack)(struct device *lapic);                                   /* vector or -1 */
	u64 (*cr8)(struct device *lapic, u64 value, bool write);
	u64 (*base)(struct device *lapic); /* physical address of its registers, or UINT64_MAX */
	void (*deliver)(struct vm *vm, const struct irq_message *message);
	void (*lint0)(struct device *lapic, bool level); /* the PIC's INTR output */
	void (*nmi)(struct device *lapic);               /* an NMI from the board or the monitor */
	/* The message that a level-triggered pin of the I/O APIC sends; NULL: needs not be told. */
	void (*level_pin)(struct vm *vm, unsigned pin, const struct irq_message *message);
};

struct irq_router {
	pthread_mutex_t lock;
	u16 asserted[GSI_COUNT];    /* how many lines hold this GSI high */
	struct irq_line *legacy[2]; /* of PIT and RTC, which the HPET can replace */
	struct device *pic, *ioapic;
	void (*pic_set)(struct device *pic, unsigned irq, bool level);
	int (*pic_ack)(struct device *pic); /* vector of the acknowledged interrupt */
	void (*ioapic_set)(struct device *ioapic, unsigned pin, bool level);
	void (*ioapic_eoi)(struct device *ioapic, u8 vector); /* no local APIC's lock held */
	const struct lapic_ops *lapic;
};

void irq_router_init(struct irq_router *router);
void irq_router_destroy(struct irq_router *router);

void irq_line_init(struct irq_line *line, struct vm *vm, unsigned gsi);
void irq_line_set(struct irq_line *line, bool level);
/* In post_load, when the state table has stored line->level: counts it in, without an edge, because
 * the controllers' own state has it already. The line was low before (the machine was reset). */
void irq_line_restore(struct irq_line *line);

/* The HPET's legacy replacement: cuts or reconnects the PIT's and the RTC's line, which their
 * devices put into irq_router.legacy. */
void irq_replace_legacy(struct vm *vm, bool replaced);
/* The same in post_load: without an edge, whether those lines have been restored or not. */
void irq_restore_legacy(struct vm *vm, bool replaced);

/* Local APICs that the engine emulates: whether they are, a message to them, and the message that a
 * level-triggered pin of the I/O APIC sends. */
bool vm_engine_has_lapics(const struct vm *vm);
void vm_engine_msi(struct vm *vm, u64 address, u32 data);
void vm_engine_level_pin(struct vm *vm, unsigned pin, u64 address, u32 data);

/* Delivers a message-signalled interrupt. Addresses outside 0xfee00000..0xfeefffff are ignored. */
void vm_msi(struct vm *vm, u64 address, u32 data);

#endif
