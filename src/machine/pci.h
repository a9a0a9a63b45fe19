/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: buses, configuration space, base address registers, interrupts (PCI 3.0, PCIe 5.0).
 *
 *   config access (0xcf8/0xcfc or ECAM) -> bus by number -> device by slot and function
 *       -> 256 bytes of registers with masks of what the guest may write
 *       -> BAR or command changed: the device's regions move
 *
 * A PCI device's struct begins with struct pci_device; its realize calls pci_device_init() first.
 * Each device says in masks which configuration bits are writable or write-1-to-clear; everything
 * else is read-only. There is no extended configuration space: it reads as zeros. BARs decode when
 * the command register says so; windows of bridges above are not looked at.
 *
 * Locks: configuration space is under the root's config_lock. Interrupt functions may be called
 * with the device's own lock held, on any thread.
 */
#ifndef LODGE_MACHINE_PCI_H
#define LODGE_MACHINE_PCI_H

#include "base/types.h"
#include "machine/device.h"
#include "machine/irq.h"
#include "machine/region.h"
#include <pthread.h>

#define PCI_CONFIG_BYTES 256
#define PCI_BARS         6
#define PCI_MSIX_MAX     64 /* vectors of one function */
#define PCI_SLOTS        32
#define PCI_DEPTH_MAX    8 /* buses below each other */

/* Configuration registers and bits that devices use. */
#define PCI_VENDOR           0x00
#define PCI_DEVICE           0x02
#define PCI_COMMAND          0x04
#define PCI_STATUS           0x06
#define PCI_REVISION         0x08
#define PCI_CLASS            0x09 /* three bytes */
#define PCI_HEADER           0x0e
#define PCI_BAR0             0x10
#define PCI_PRIMARY          0x18
#define PCI_SECONDARY        0x19
#define PCI_SUBORDINATE      0x1a
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM        0x2e
#define PCI_CAPABILITIES     0x34
#define PCI_LINE             0x3c
#define PCI_PIN              0x3d
#define PCI_BRIDGE_CONTROL   0x3e

#define PCI_COMMAND_IO       BIT(0)
#define PCI_COMMAND_MEMORY   BIT(1)
#define PCI_COMMAND_MASTER   BIT(2)
#define PCI_COMMAND_INTX_OFF BIT(10)
#define PCI_STATUS_INTX      BIT(3)
#define PCI_STATUS_CAPS      BIT(4)

#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_PCIE   0x10
#define PCI_CAP_ID_MSIX   0x11

struct pci_device;

struct pci_bus {
	struct vm *vm;
	struct pci_device *bridge; /* above it, NULL for the root */
	struct pci_device *devices[PCI_SLOTS * 8];
	pthread_mutex_t config_lock; /* the root's counts */
};

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetchable;
	struct region region; /* .bytes is a power of two */
};

struct msix_entry {
	u64 address;
	u32 data, control; /* control bit 0: masked */
};

struct pci_msix {
	u16 vectors; /* 0: the device has none */
	u8 cap, bar;
	u32 table_offset, pba_offset;
	struct region table_region, pba_region;
	pthread_mutex_t lock; /* also of the INTx status */
	struct msix_entry entries[PCI_MSIX_MAX];
	u64 pending;
};

struct pci_device {
	struct device dev;
	u8 bus_number, slot, function; /* options; the bus is the plan's controller index */
	struct pci_bus *bus;
	u8 config[PCI_CONFIG_BYTES], writable[PCI_CONFIG_BYTES], clearable[PCI_CONFIG_BYTES];
	u8 initial[PCI_CONFIG_BYTES]; /* of config, at reset */
	u8 cap_end;                   /* first free byte for capabilities */
	u8 last_cap;
	struct pci_bar bars[PCI_BARS];
	struct pci_msix msix;
	struct irq_line intx;
	struct pci_bus *secondary; /* bridges */
	/* Optional: told after the guest changed configuration bytes. config_lock is held. */
	void (*config_written)(struct pci_device *pci, unsigned offset, unsigned bytes);
	/* Optional. BAR @bar answers at @base from now on, or no longer. Under the lock of
	 * configuration space; may be told what it knows. */
	void (*bar_moved)(struct pci_device *pci, unsigned bar, u64 base, bool enabled);
	/* Optional: before configuration bytes are read. config_lock is held. */
	void (*config_read)(struct pci_device *pci, unsigned offset, unsigned bytes);
};

/* Options and state that every PCI device has; put them first in its own tables. */
#define PCI_OPTIONS(type, member)                                                                 \
	{ .name = "bus",                                                                          \
	  .kind = OPTION_U8,                                                                      \
	  .offset = offsetof(type, member.bus_number),                                            \
	  .max = 255,                                                                             \
	  .help = "0: the root complex; N: behind the root port pci.N" },                         \
		{ .name = "slot",                                                                 \
		  .kind = OPTION_U8,                                                              \
		  .offset = offsetof(type, member.slot),                                          \
		  .max = 31,                                                                      \
		  .help = "device number on the bus" },                                           \
	{                                                                                         \
		.name = "function", .kind = OPTION_U8, .offset = offsetof(type, member.function), \
		.max = 7, .help = "function number"                                               \
	}

struct pci_identity {
	u16 vendor, device, subsystem_vendor, subsystem;
	u32 class_code; /* 24 bits */
	u8 revision;
	u8 header; /* 0 endpoint, 1 bridge */
	bool intx; /* has pin A */
};

/* In realize, first: puts the device on its bus. -errno with @error set if there is none or the
 * place is taken. */
int pci_device_init(struct pci_device *pci, const struct pci_identity *id, GError **error);
/* In reset, first. */
void pci_device_reset(struct pci_device *pci);
/* In post_load, first. -EINVAL: impossible. */
int pci_device_post_load(struct pci_device *pci);
void pci_device_destroy(struct pci_device *pci);

/* In realize: a BAR of @bytes (a power of two, at least 16). 64-bit BARs take two numbers. */
int pci_add_bar(struct pci_device *pci, unsigned number, enum pci_bar_kind kind, u64 bytes,
		region_access *access, GError **error);
/* Appends a capability of @bytes with its contents (from the byte after the next pointer) and the
 * mask of its writable bytes (or NULL); returns its offset, or -ENOSPC. */
int pci_add_capability(struct pci_device *pci, u8 id, unsigned bytes, const void *content,
		       const void *writable);
/* A PCI Express capability: @port_type 0 endpoint, 4 root port, 9 integrated endpoint. */
int pci_add_express(struct pci_device *pci, u8 port_type, u8 port_number, u8 slot_number);
/* MSI-X with its table and pending bits inside BAR @bar. */
int pci_add_msix(struct pci_device *pci, unsigned vectors, unsigned bar, u32 table_offset,
		 u32 pba_offset, GError **error);

bool pci_msix_enabled(struct pci_device *pci);
/* Sends the vector's message, or remembers it while it is masked. Unknown vectors are ignored. */
void pci_msix_notify(struct pci_device *pci, unsigned vector);
/* The level of pin A. */
void pci_intx_set(struct pci_device *pci, bool level);
/* May the device read and write guest memory? */
bool pci_bus_master(struct pci_device *pci);

/* For the host bridge: the root bus, and configuration accesses of 1, 2 or 4 bytes. */
void pci_root_init(struct pci_bus *root, struct vm *vm);
void pci_root_destroy(struct pci_bus *root);
void pci_config_access(struct pci_bus *root, unsigned bus, unsigned devfn, unsigned offset,
		       unsigned size, u64 *value, bool write);
/* For bridges: the bus below @bridge. Freed with the bridge. */
void pci_bridge_init(struct pci_device *bridge);

/* What firmware does on a direct boot: numbers buses, places BARs and windows, names interrupts. */
void pci_assign(struct vm *vm);

/* Private to machine/pci*.c */
void pci_msix_reset(struct pci_device *pci);
void pci_msix_move(struct pci_device *pci, u64 bar_base, bool enabled);
void pci_msix_config_written(struct pci_device *pci);
u8 pci_gsi(const struct pci_device *pci);

#endif
