/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making devices from their types and settings. See device.h.
 */
#include "machine/device.h"

#include "machine/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct device_type *device_type_find(const struct device_type *const *types, const char *name)
{
	for (; *types; types++)
		if (!strcmp((*types)->name, name))
			return *types;
	return NULL;
}

const struct device_option *device_type_option(const struct device_type *type, const char *name)
{
	for (const struct device_option *o = type->options; o && o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static bool is_number(enum option_kind kind)
{
	return kind <= OPTION_U64;
}

static void store_number(struct device *dev, const struct device_option *o, u64 value)
{
	void *p = (char *)dev + o->offset;

	switch (o->kind) {
	case OPTION_U8: *(u8 *)p = value; break;
	case OPTION_U16: *(u16 *)p = value; break;
	case OPTION_U32: *(u32 *)p = value; break;
	case OPTION_U64: *(u64 *)p = value; break;
	case OPTION_BOOL: *(bool *)p = value; break;
	default: break;
	}
}

struct device *vm_find_device(const struct vm *vm, const char *id)
{
	for (guint i = 0; i < vm->devices->len; i++) {
		struct device *dev = g_ptr_array_index(vm->devices, i);

		if (!strcmp(dev->id, id))
			return dev;
	}
	return NULL;
}

struct device *device_new(struct vm *vm, const struct device_type *type, const char *id,
			  GError **error)
{
	struct device *dev;

	if (vm_find_device(vm, id)) {
		g_set_error(error, VM_ERROR, EEXIST, "two devices are named '%s'", id);
		return NULL;
	}
	dev = g_malloc0(type->bytes);
	dev->type = type;
	dev->vm = vm;
	dev->id = g_strdup(id);
	for (const struct device_option *o = type->options; o && o->name; o++)
		store_number(dev, o, o->init);
	g_ptr_array_add(vm->devices, dev);
	return dev;
}

static const struct device_option *find_option(struct device *dev, const char *name, GError **error)
{
	const struct device_option *o = device_type_option(dev->type, name);

	if (!o)
		g_set_error(error, VM_ERROR, EINVAL, "device '%s' (%s) has no setting '%s'",
			    dev->id, dev->type->name, name);
	return o;
}

static int wrong_type(struct device *dev, const char *name, const char *wanted, GError **error)
{
	g_set_error(error, VM_ERROR, EINVAL, "setting '%s' of device '%s' (%s) must be %s", name,
		    dev->id, dev->type->name, wanted);
	return -EINVAL;
}

static const char *kind_text(enum option_kind kind)
{
	static const char *const texts[] = {
		[OPTION_U8] = "a number",
		[OPTION_U16] = "a number",
		[OPTION_U32] = "a number",
		[OPTION_U64] = "a number",
		[OPTION_BOOL] = "true or false",
		[OPTION_STRING] = "a string",
		[OPTION_MAC] = "a MAC address",
		[OPTION_CONSOLE] = "the id of a console backend",
		[OPTION_BLOCK] = "the id of a block backend",
		[OPTION_NET] = "the id of a net backend",
	};

	return texts[kind];
}

int device_set_number(struct device *dev, const char *name, u64 value, GError **error)
{
	const struct device_option *o = find_option(dev, name, error);

	if (!o)
		return -EINVAL;
	if (!is_number(o->kind))
		return wrong_type(dev, name, kind_text(o->kind), error);
	if (value < o->min || value > o->max) {
		g_set_error(error, VM_ERROR, ERANGE,
			    "setting '%s' of device '%s' (%s) is %llu, not within %llu..%llu", name,
			    dev->id, dev->type->name, (unsigned long long)value,
			    (unsigned long long)o->min, (unsigned long long)o->max);
		return -ERANGE;
	}
	store_number(dev, o, value);
	return 0;
}

int device_set_bool(struct device *dev, const char *name, bool value, GError **error)
{
	const struct device_option *o = find_option(dev, name, error);

	if (!o)
		return -EINVAL;
	if (o->kind != OPTION_BOOL)
		return wrong_type(dev, name, kind_text(o->kind), error);
	store_number(dev, o, value);
	return 0;
}

static bool parse_mac(const char *text, u8 mac[6])
{
	int end = 0;

	return strlen(text) == 17 &&
	       sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		      &mac[3], &mac[4], &mac[5], &end) == 6 &&
	       end == 17;
}

int device_set_string(struct device *dev, const char *name, const char *value, GError **error)
{
	const struct device_option *o = find_option(dev, name, error);
	char **string;

	if (!o)
		return -EINVAL;
	if (o->kind == OPTION_MAC)
		return parse_mac(value, (u8 *)dev + o->offset)
			       ? 0
			       : wrong_type(dev, name, "a MAC address such as 52:54:00:12:34:56",
					    error);
	if (o->kind != OPTION_STRING)
		return wrong_type(dev, name, kind_text(o->kind), error);
	if (strlen(value) > o->max) {
		g_set_error(error, VM_ERROR, ERANGE,
			    "setting '%s' of device '%s' (%s) is longer than %llu bytes", name,
			    dev->id, dev->type->name, (unsigned long long)o->max);
		return -ERANGE;
	}
	string = (char **)((char *)dev + o->offset);
	g_free(*string);
	*string = g_strdup(value);
	return 0;
}

int device_set_backend(struct device *dev, const char *name, enum option_kind kind, void *backend,
		       GError **error)
{
	const struct device_option *o = find_option(dev, name, error);

	if (!o)
		return -EINVAL;
	if (o->kind != kind)
		return wrong_type(dev, name, kind_text(o->kind), error);
	*(void **)((char *)dev + o->offset) = backend;
	return 0;
}

/* Numbers cannot be told from their defaults: a required number has a default outside its range. */
static bool is_set(const struct device *dev, const struct device_option *o)
{
	const void *p = (const char *)dev + o->offset;

	switch (o->kind) {
	case OPTION_U8: return *(const u8 *)p >= o->min && *(const u8 *)p <= o->max;
	case OPTION_U16: return *(const u16 *)p >= o->min && *(const u16 *)p <= o->max;
	case OPTION_U32: return *(const u32 *)p >= o->min && *(const u32 *)p <= o->max;
	case OPTION_U64: return *(const u64 *)p >= o->min && *(const u64 *)p <= o->max;
	case OPTION_MAC: return memcmp(p, "\0\0\0\0\0\0", 6) != 0;
	case OPTION_BOOL: return true;
	default: return *(void *const *)p != NULL;
	}
}

int device_realize(struct device *dev, GError **error)
{
	int err;

	for (const struct device_option *o = dev->type->options; o && o->name; o++) {
		if (o->required && !is_set(dev, o)) {
			g_set_error(error, VM_ERROR, EINVAL,
				    "device '%s' (%s) lacks its setting '%s'", dev->id,
				    dev->type->name, o->name);
			return -EINVAL;
		}
	}
	dev->tried = true;
	err = dev->type->realize(dev, error);
	if (err) {
		g_prefix_error(error, "device '%s' (%s): ", dev->id, dev->type->name);
		return err;
	}
	dev->realized = true;
	return 0;
}

static int add_region(struct device *dev, struct region_map *map, struct region *region,
		      GError **error)
{
	int err = region_map_add(map, region);

	if (err)
		g_set_error(error, VM_ERROR, -err, "no room for its registers at 0x%llx: %s",
			    (unsigned long long)region->base, g_strerror(-err));
	return err;
}

/* Port devices have byte registers unless they say otherwise afterwards. */
int device_add_ports(struct device *dev, struct region *region, u16 port, u32 count,
		     region_access *access, GError **error)
{
	*region = (struct region){ .dev = dev,
				   .access = access,
				   .base = port,
				   .bytes = count,
				   .width_max = 1,
				   .priority = REGION_PRIORITY_BOARD,
				   .enabled = true };
	return add_region(dev, &dev->vm->pio, region, error);
}

int device_add_mmio(struct device *dev, struct region *region, gpa_t base, u64 bytes,
		    region_access *access, GError **error)
{
	*region = (struct region){ .dev = dev,
				   .access = access,
				   .base = base,
				   .bytes = bytes,
				   .width_max = 8,
				   .priority = REGION_PRIORITY_BOARD,
				   .enabled = true };
	return add_region(dev, &dev->vm->mmio, region, error);
}
