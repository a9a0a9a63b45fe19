/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device: a struct that begins with struct device, a table of functions, and a table of its
 * state.
 *
 *   device_new -> options from the plan -> device_realize -> reset -> (accesses) -> destroy
 *
 * A device is one file that ends in one const struct device_type. Its options say what the plan
 * may set; they are parsed straight into the device's struct. Its state table says what a guest
 * can change; reset, save, load and --describe read it, and no device writes its own save code.
 *
 * Threads: realize, reset, quiesce, resume, post_load and destroy run on the control thread while
 * no vCPU runs. Region accesses come on vCPU threads, timers on the clock thread, completions on
 * I/O threads: the device's own lock orders them.
 */
#ifndef LODGE_MACHINE_DEVICE_H
#define LODGE_MACHINE_DEVICE_H

#include "base/types.h"
#include "machine/region.h"
#include <glib.h>

struct device;
struct state_field; /* state/state.h */
struct vm;

enum option_kind {
	OPTION_U8,
	OPTION_U16,
	OPTION_U32,
	OPTION_U64,
	OPTION_BOOL,
	OPTION_STRING,  /* char *, owned by the device */
	OPTION_MAC,     /* u8[6], written aa:bb:cc:dd:ee:ff */
	OPTION_CONSOLE, /* struct console *, owned by the machine's maker */
	OPTION_BLOCK,   /* struct block * */
	OPTION_NET,     /* struct net * */
};

/* One setting. The last entry of a table has name NULL. */
struct device_option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* in the device's struct */
	bool required;
	u64 init;     /* numbers and booleans that are not given */
	u64 min, max; /* numbers; for strings @max is the greatest length, in bytes */
	const char *help;
};

#define DEVICE_BOARD BIT(0) /* part of the board: plans may not name it */
#define DEVICE_PCI   BIT(1) /* begins with struct pci_device and sits on a PCI bus */

struct device_type {
	const char *name; /* as the plan writes it */
	const char *help;
	size_t bytes; /* of the device's struct */
	unsigned flags;
	const struct device_option *options; /* or NULL */
	const struct state_field *state;     /* never NULL; ends with name NULL */

	int (*realize)(struct device *dev, GError **error); /* -errno with @error set */
	void (*reset)(struct device *dev);                  /* power-on state */
	void (*quiesce)(struct device *dev); /* optional: finish or hold all requests in flight */
	void (*resume)(struct device *dev);  /* optional: the opposite */
	/* optional: the machine, which stands, has another engine now; pre_save() was called */
	void (*engine_changed)(struct device *dev);
	/* optional: brings what the engine holds of its state into the struct, to be saved */
	void (*pre_save)(struct device *dev);
	int (*post_load)(
		struct device *dev); /* optional: checks loaded state; -EINVAL: impossible */
	/* optional, any thread: the terminal behind a console has this size */
	void (*resize)(struct device *dev, u16 columns, u16 rows);
	/* optional, any thread: a network card is plugged in, or unplugged */
	void (*set_link)(struct device *dev, bool up);
	void (*destroy)(struct device *dev); /* optional; also after a failed realize */
};

struct device {
	const struct device_type *type;
	struct vm *vm;
	char *id;
	bool tried; /* realize was called, so destroy must be */
	bool realized;
};

/* Makes a device that belongs to @vm. @id (copied) names it in messages and saved state. */
struct device *device_new(struct vm *vm, const struct device_type *type, const char *id,
			  GError **error);

/* NULL: there is none of that name. Any thread once the machine is built. */
struct device *vm_find_device(const struct vm *vm, const char *id);

/* Settings, before realize. -EINVAL with @error set if the name, type or value is wrong. */
int device_set_number(struct device *dev, const char *name, u64 value, GError **error);
int device_set_bool(struct device *dev, const char *name, bool value, GError **error);
int device_set_string(struct device *dev, const char *name, const char *value, GError **error);
int device_set_backend(struct device *dev, const char *name, enum option_kind kind, void *backend,
		       GError **error);
const struct device_option *device_type_option(const struct device_type *type, const char *name);

/* Checks that everything required is set and brings the device into the machine. */
int device_realize(struct device *dev, GError **error);

/* In realize: has the device answer at a range of ports or of guest physical addresses. The region
 * is part of the device's struct. */
int device_add_ports(struct device *dev, struct region *region, u16 port, u32 count,
		     region_access *access, GError **error);
int device_add_mmio(struct device *dev, struct region *region, gpa_t base, u64 bytes,
		    region_access *access, GError **error);

/* What the types of a program are: NULL-terminated. */
const struct device_type *device_type_find(const struct device_type *const *types,
					   const char *name);

#endif
