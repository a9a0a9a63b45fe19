/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state: tables that say which members of a device's struct a guest can change, and one
 * generic save and load over them.
 *
 *   static const struct state_field serial_state[] = {
 *           STATE(struct serial, ier),
 *           STATE(struct serial, fifo),            // an array of numbers
 *           STATE_STRUCTS(struct hpet, timers, hpet_timer_state),
 *           STATE_SINCE(2, struct serial, scratch), // absent in version 1: keeps its reset value
 *           STATE_END,
 *   };
 *
 * A machine's saved state is one stream of records, integers little-endian:
 *
 *   "LODGEST1"
 *   per section: u8 1, u8 length, id, u8 length, type name, u32 bytes, then its fields:
 *     per field: u8 length, name, u8 element bytes, u32 count, the elements
 *   u8 0
 *
 * The first section says of which machine type it is. The others are devices, plus "clock" and one
 * "vcpuN" for each processor. Fields are found by name,
 * so old streams load into newer tables; a field of another size, one nobody knows, a section
 * without a device, a device without a section and another machine type are errors that name it.
 * Loading is all or nothing towards the guest: after an error the machine must not run.
 */
#ifndef LODGE_STATE_STATE_H
#define LODGE_STATE_STATE_H

#include "base/types.h"
#include <glib.h>

struct device;
struct vm;

struct state_field {
	const char *name;
	u32 offset;
	u16 element_bytes; /* of a number: 1, 2, 4 or 8; of a struct: its size */
	u16 since;         /* first version that has it; 1 from the start */
	u32 count;
	const struct state_field *sub; /* structs: the table of one */
};

/* A number or an array of numbers; booleans and enums count as numbers. */
#define STATE_SINCE(version, type, member)                                           \
	{                                                                            \
		.name = #member, .offset = offsetof(type, member),                   \
		.element_bytes = STATE_ELEMENT_(type, member), .since = (version),   \
		.count = sizeof(((type *)0)->member) / STATE_ELEMENT_(type, member), \
	}
#define STATE(type, member) STATE_SINCE(1, type, member)
/* A struct or an array of them; nests four deep at most. */
#define STATE_STRUCTS(type, member, table, element)                                    \
	{                                                                              \
		.name = #member, .offset = offsetof(type, member),                     \
		.element_bytes = sizeof(element), .since = 1,                          \
		.count = sizeof(((type *)0)->member) / sizeof(element), .sub = (table) \
	}
#define STATE_END            \
	{                    \
		.name = NULL \
	}

/* The size of one number of a scalar or of an array of numbers. */
#define STATE_ELEMENT_(type, member)                                                       \
	_Generic(((type *)0)->member, bool : 1, u8 : 1, s8 : 1, u16 : 2, s16 : 2, u32 : 4, \
		 s32 : 4, u64 : 8, s64 : 8, bool * : 1, u8 * : 1, u16 * : 2, u32 * : 4, u64 * : 8)

#define STATE_BYTES_MAX (64 * MIB) /* of a whole stream, guest memory excluded */

/* Appends the values of @fields of the struct at @base. */
void state_save_fields(const struct state_field *fields, const void *base, GByteArray *out);
/* The inverse; -EINVAL with @error set, then the struct is partly loaded. */
int state_load_fields(const struct state_field *fields, void *base, const u8 *data, size_t bytes,
		      GError **error);

/* Control thread, machine paused: the state of the clock, processors and devices. */
void state_save_vm(struct vm *vm, GByteArray *out);
/* Into a machine made from the same plan, reset and not running. */
int state_load_vm(struct vm *vm, const u8 *data, size_t bytes, GError **error);

#endif
