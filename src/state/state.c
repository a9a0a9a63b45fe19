/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Save and load by table. The stream's format is in state.h. What is read comes from a file that
 * may be damaged or hostile: every length is checked against what is left before it is used.
 */
#include "state/state.h"

#include "machine/vm.h"
#include "state/vcpu_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4

static const char magic[8] = { 'L', 'O', 'D', 'G', 'E', 'S', 'T', '1' };

struct reader {
	const u8 *at, *end;
};

static void put_u32(GByteArray *out, u32 value)
{
	const u8 bytes[4] = { value, value >> 8, value >> 16, value >> 24 };

	g_byte_array_append(out, bytes, sizeof(bytes));
}

static void put_u8(GByteArray *out, u8 value)
{
	g_byte_array_append(out, &value, 1);
}

static void put_name(GByteArray *out, const char *name)
{
	size_t n = strlen(name);

	put_u8(out, n > 255 ? 255 : n);
	g_byte_array_append(out, (const u8 *)name, n > 255 ? 255 : n);
}

/* Fills in a u32 length at @at that covers what follows it. */
static void patch_length(GByteArray *out, guint at)
{
	u32 n = out->len - at - 4;

	for (int i = 0; i < 4; i++)
		out->data[at + i] = n >> (8 * i);
}

static bool get(struct reader *r, void *to, size_t bytes)
{
	if ((size_t)(r->end - r->at) < bytes)
		return false;
	memcpy(to, r->at, bytes);
	r->at += bytes;
	return true;
}

static bool get_u32(struct reader *r, u32 *value)
{
	u8 b[4];

	if (!get(r, b, 4))
		return false;
	*value = b[0] | b[1] << 8 | b[2] << 16 | (u32)b[3] << 24;
	return true;
}

static bool get_name(struct reader *r, char name[256])
{
	u8 n;

	if (!get(r, &n, 1) || !get(r, name, n))
		return false;
	name[n] = 0;
	return true;
}

void state_save_fields(const struct state_field *fields, const void *base, GByteArray *out)
{
	for (const struct state_field *f = fields; f->name; f++) {
		const u8 *p = (const u8 *)base + f->offset;
		guint at;

		put_name(out, f->name);
		put_u8(out, f->sub ? 0 : f->element_bytes);
		put_u32(out, f->count);
		if (!f->sub) { /* the host is little-endian like the stream */
			g_byte_array_append(out, p, f->element_bytes * f->count);
			continue;
		}
		for (u32 i = 0; i < f->count; i++) {
			at = out->len;
			put_u32(out, 0);
			state_save_fields(f->sub, p + i * f->element_bytes, out);
			patch_length(out, at);
		}
	}
}

static int bad(GError **error, const char *what, const char *name)
{
	g_set_error(error, VM_ERROR, EINVAL, "%s '%s'", what, name);
	return -EINVAL;
}

static const struct state_field *find_field(const struct state_field *fields, const char *name)
{
	for (const struct state_field *f = fields; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

static int load_fields(const struct state_field *fields, void *base, struct reader *r,
		       unsigned depth, GError **error);

static int load_structs(const struct state_field *f, u8 *p, struct reader *r, unsigned depth,
			GError **error)
{
	for (u32 i = 0; i < f->count; i++) {
		struct reader part;
		u32 bytes;
		int err;

		if (!get_u32(r, &bytes) || bytes > (size_t)(r->end - r->at))
			return bad(error, "the state ends inside field", f->name);
		part = (struct reader){ r->at, r->at + bytes };
		r->at += bytes;
		err = load_fields(f->sub, p + i * f->element_bytes, &part, depth + 1, error);
		if (err)
			return err;
	}
	return 0;
}

static int load_fields(const struct state_field *fields, void *base, struct reader *r,
		       unsigned depth, GError **error)
{
	char name[256];

	if (depth > DEPTH_MAX)
		return bad(error, "state nests too deep at", fields->name);
	while (r->at < r->end) {
		const struct state_field *f;
		u8 element;
		u32 count;
		int err;

		if (!get_name(r, name) || !get(r, &element, 1) || !get_u32(r, &count))
			return bad(error, "the state ends inside field", "?");
		f = find_field(fields, name);
		if (!f)
			return bad(error, "saved by a newer version: unknown field", name);
		if (count != f->count || element != (f->sub ? 0 : f->element_bytes))
			return bad(error, "another size of field", name);
		if (f->sub) {
			err = load_structs(f, (u8 *)base + f->offset, r, depth, error);
			if (err)
				return err;
		} else if (!get(r, (u8 *)base + f->offset, (size_t)element * count)) {
			return bad(error, "the state ends inside field", name);
		}
	}
	return 0;
}

int state_load_fields(const struct state_field *fields, void *base, const u8 *data, size_t bytes,
		      GError **error)
{
	struct reader r = { data, data + bytes };

	return load_fields(fields, base, &r, 0, error);
}

static void save_section(GByteArray *out, const char *id, const char *type,
			 const struct state_field *fields, const void *base)
{
	guint at;

	put_u8(out, 1);
	put_name(out, id);
	put_name(out, type);
	at = out->len;
	put_u32(out, 0);
	state_save_fields(fields, base, out);
	patch_length(out, at);
}

struct clock_image {
	u64 now_ns;
};

static const struct state_field clock_fields[] = {
	STATE(struct clock_image, now_ns),
	STATE_END,
};

/* What the machine's type is called; its section has no fields. */
static const char *machine_name(const struct vm *vm)
{
	return vm->machine ? vm->machine : "none";
}

static const struct state_field machine_fields[] = { STATE_END };

void state_save_vm(struct vm *vm, GByteArray *out)
{
	const struct clock_image clock = { vm_clock_now(&vm->clock) };
	u64 host_tsc = vm_host_tsc(vm);
	char id[16];

	g_byte_array_append(out, (const u8 *)magic, sizeof(magic));
	save_section(out, machine_name(vm), "machine", machine_fields, vm);
	save_section(out, "clock", "clock", clock_fields, &clock);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct x86_state *state = g_new0(struct x86_state, 1);

		vcpu_get_state(vm->vcpus[i], state, host_tsc);
		snprintf(id, sizeof(id), "vcpu%u", i);
		save_section(out, id, "vcpu", vcpu_state_fields, state);
		g_free(state);
	}
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if (dev->type->pre_save)
			dev->type->pre_save(dev);
		save_section(out, dev->id, dev->type->name, dev->type->state, dev);
	}
	put_u8(out, 0);
}

static int check_machine(const struct vm *vm, const char *name, GError **error)
{
	if (!strcmp(name, machine_name(vm)))
		return 0;
	g_set_error(error, VM_ERROR, EINVAL,
		    "the state is of machine type '%s', and this machine is a '%s'; load it into "
		    "one of its own type, with a version that has that",
		    name, machine_name(vm));
	return -EINVAL;
}

static int load_clock(struct vm *vm, const u8 *data, size_t bytes, GError **error)
{
	struct clock_image clock = { 0 };
	int err = state_load_fields(clock_fields, &clock, data, bytes, error);

	if (!err)
		vm_clock_set(&vm->clock, clock.now_ns);
	return err;
}

static int load_vcpu(struct vm *vm, const char *id, const u8 *data, size_t bytes, u64 host_tsc,
		     GError **error)
{
	struct x86_state *state;
	unsigned index;
	int err;

	if (sscanf(id, "vcpu%u", &index) != 1 || index >= vm->vcpu_count)
		return bad(error, "saved state of a processor that is not there:", id);
	state = g_new0(struct x86_state, 1);
	err = state_load_fields(vcpu_state_fields, state, data, bytes, error);
	if (!err && vcpu_set_state(vm->vcpus[index], state, host_tsc))
		err = bad(error, "impossible state of", id);
	g_free(state);
	return err;
}

static struct device *find_device(struct vm *vm, const char *id, const char *type)
{
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if (!strcmp(dev->id, id) && !strcmp(dev->type->name, type))
			return dev;
	}
	return NULL;
}

/* *@host_tsc is of the moment the clock was placed, in machines with a stepped clock too. */
static int load_section(struct vm *vm, struct reader *r, u64 *host_tsc, GHashTable *seen,
			GError **error)
{
	char id[256], type[256];
	struct device *dev;
	const u8 *data;
	u32 bytes;

	if (!get_name(r, id) || !get_name(r, type) || !get_u32(r, &bytes) ||
	    bytes > (size_t)(r->end - r->at))
		return bad(error, "the state ends inside section", "?");
	data = r->at;
	r->at += bytes;
	if (!g_hash_table_add(seen, g_strdup(id)))
		return bad(error, "saved twice:", id);
	if (!strcmp(type, "machine"))
		return check_machine(vm, id, error);
	if (!strcmp(type, "clock")) {
		int err = load_clock(vm, data, bytes, error);

		*host_tsc = vm_host_tsc(vm);
		return err;
	}
	if (!strcmp(type, "vcpu"))
		return load_vcpu(vm, id, data, bytes, *host_tsc, error);
	dev = find_device(vm, id, type);
	if (!dev)
		return bad(error, "saved state of a device that is not there:", id);
	return state_load_fields(dev->type->state, dev, data, bytes, error);
}

/* After all sections are in, so that a device may look at others. */
static int finish_devices(struct vm *vm, GHashTable *seen, GError **error)
{
	if (!g_hash_table_contains(seen, machine_name(vm)))
		return bad(error, "the state does not say that it is of machine type",
			   machine_name(vm));
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if (!g_hash_table_contains(seen, dev->id))
			return bad(error, "no saved state of device", dev->id);
		if (dev->type->post_load && dev->type->post_load(dev))
			return bad(error, "impossible state of device", dev->id);
	}
	return 0;
}

int state_load_vm(struct vm *vm, const u8 *data, size_t bytes, GError **error)
{
	struct reader r = { data, data + bytes };
	u64 host_tsc = vm_host_tsc(vm);
	GHashTable *seen;
	char head[8];
	u8 more = 0;
	int err = 0;

	if (bytes > STATE_BYTES_MAX || !get(&r, head, sizeof(head)) ||
	    memcmp(head, magic, sizeof(magic)))
		return bad(error, "not saved state of", vm->name);
	seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	while (!err && get(&r, &more, 1) && more == 1)
		err = load_section(vm, &r, &host_tsc, seen, error);
	if (!err && (more != 0 || r.at != r.end))
		err = bad(error, "the state is cut or damaged:", vm->name);
	if (!err)
		err = finish_devices(vm, seen, error);
	g_hash_table_destroy(seen);
	return err;
}
