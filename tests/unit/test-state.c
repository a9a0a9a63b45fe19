/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state: for every device type there is, what is saved is what is loaded; and streams that
 * are cut, damaged or from another machine are refused.
 */
#include "block/block.h"
#include "device/types.h"
#include "machine/pci.h"
#include "state/state.h"
#include "state/vcpu_state.h"
#include "testvm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Every member of a table, filled at random, comes back the same. */

static void fill(const struct state_field *fields, u8 *base, GRand *rand)
{
	for (const struct state_field *f = fields; f->name; f++)
		for (u32 i = 0; i < f->count; i++) {
			u8 *p = base + f->offset + i * f->element_bytes;

			if (f->sub)
				fill(f->sub, p, rand);
			else
				for (unsigned k = 0; k < f->element_bytes; k++)
					p[k] = g_rand_int(rand);
		}
}

static void check_table(const struct state_field *fields, size_t bytes)
{
	GRand *rand = g_rand_new_with_seed(bytes);
	u8 *a = g_malloc0(bytes), *b = g_malloc0(bytes);
	GByteArray *saved = g_byte_array_new();
	GError *error = NULL;

	for (const struct state_field *f = fields; f->name; f++) {
		g_assert_cmpuint((u64)f->offset + (u64)f->count * f->element_bytes, <=, bytes);
		g_assert_cmpuint(f->since, >=, 1);
		for (const struct state_field *g = fields; g != f; g++)
			g_assert_cmpstr(f->name, !=, g->name);
	}
	fill(fields, a, rand);
	state_save_fields(fields, a, saved);
	g_assert_cmpint(state_load_fields(fields, b, saved->data, saved->len, &error), ==, 0);
	g_assert_no_error(error);
	g_assert_cmpint(memcmp(a, b, bytes), ==, 0);
	g_byte_array_free(saved, TRUE);
	g_free(a);
	g_free(b);
	g_rand_free(rand);
}

static void test_tables(void)
{
	for (unsigned i = 0; device_types[i]; i++)
		check_table(device_types[i]->state, device_types[i]->bytes);
	check_table(vcpu_state_fields, sizeof(struct x86_state));
}

/* A machine with every device type there is. */

struct fixture {
	struct vm *vm;
	struct block *block;
};

static struct block *small_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct block_config config = { .driver = "raw", .fd = fd, .discard = true };
	GError *error = NULL;
	struct block *block;

	g_assert_cmpint(ftruncate(fd, MIB), ==, 0);
	block = block_open(&config, &error);
	g_assert_no_error(error);
	return block;
}

static bool on_board(struct vm *vm, const struct device_type *type)
{
	for (guint i = 0; i < vm->devices->len; i++)
		if (((struct device *)g_ptr_array_index(vm->devices, i))->type == type)
			return true;
	return false;
}

static void full_machine(struct fixture *f)
{
	unsigned slot = 1;

	f->vm = test_vm_new(2, 4 * MIB);
	f->block = small_disk();
	for (unsigned i = 0; device_types[i]; i++) {
		const struct device_type *type = device_types[i];
		struct device *dev;

		if (on_board(f->vm, type))
			continue;
		dev = test_device_new(f->vm, type->name, type->name);
		if (type->flags & DEVICE_PCI)
			device_set_number(dev, "slot", slot++, NULL);
		for (const struct device_option *o = type->options; o && o->name; o++)
			if (o->kind == OPTION_BLOCK)
				device_set_backend(dev, o->name, OPTION_BLOCK, f->block, NULL);
			else if (o->kind == OPTION_MAC)
				device_set_string(dev, o->name, "52:54:00:00:00:01", NULL);
			else if (!strcmp(o->name, "controller"))
				device_set_string(dev, o->name, "virtio-serial", NULL);
			else if (o->required && o->kind == OPTION_STRING)
				device_set_string(dev, o->name, "dGV4", NULL);
		test_device_realize(dev);
	}
	g_assert_cmpint(vm_reset(f->vm, NULL), ==, 0);
	pci_assign(f->vm);
}

static void free_machine(struct fixture *f)
{
	vm_free(f->vm);
	block_close(f->block);
}

/* What a guest could do, at random: ports, registers, configuration space, time. Requests that
 * would end or restart the machine are only noted by it. */
static void play(struct vm *vm, GRand *rand, unsigned steps)
{
	static const u16 ports[] = { 0x20,  0x21,  0x40,  0x41,  0x42,  0x43,  0x60,  0x61,
				     0x64,  0x70,  0x71,  0x80,  0x92,  0xa0,  0xa1,  0x2f8,
				     0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3ff, 0x402, 0x4d0,
				     0x4d1, 0x600, 0x601, 0x510, 0x511, 0x514, 0x518, 0x602,
				     0x603, 0x604, 0x620, 0x622, 0x505, 0x660, 0x664, 0x666,
				     0x668, 0x669, 0x672, 0xcf8, 0xcfc, 0xcfd };

	for (unsigned i = 0; i < steps; i++) {
		u32 value = g_rand_int(rand) & (g_rand_boolean(rand) ? 0xff : 0xffffffff);
		unsigned cpu = g_rand_int_range(rand, 0, 2), slot = g_rand_int_range(rand, 0, 32);
		u64 high = 0x800000000ull + g_rand_int_range(rand, 0, 4) * 0x8000;

		switch (g_rand_int_range(rand, 0, 8)) {
		case 0:
			pio_write(vm, ports[g_rand_int_range(rand, 0, ARRAY_LEN(ports))], 1, value);
			break;
		case 1: pio_read(vm, ports[g_rand_int_range(rand, 0, ARRAY_LEN(ports))], 1); break;
		case 2:
			cpu_mmio_write(vm, cpu, 0xfee00000 + g_rand_int_range(rand, 0, 0x40) * 16,
				       value);
			break;
		case 3:
			mmio_write(vm, 0xfec00000, 4, g_rand_int_range(rand, 0, 0x40));
			mmio_write(vm, 0xfec00010, 4, value);
			break;
		case 4:
			mmio_write(vm, 0xfed00000 + g_rand_int_range(rand, 0, 0x160 / 4) * 4, 4,
				   value);
			break;
		case 5: /* not the BARs: all of the machine would wander */
			mmio_write(vm, 0xb0000000 + slot * 0x8000 + 4, 2, value | 6);
			mmio_write(vm,
				   0xb0000000 + slot * 0x8000 + g_rand_int_range(rand, 0x40, 0x100),
				   1, value);
			break;
		case 6: mmio_write(vm, high + g_rand_int_range(rand, 0, 0x38), 1, value); break;
		default: vm_clock_advance(&vm->clock, g_rand_int_range(rand, 1, 3000000));
		}
	}
}

static GByteArray *save(struct vm *vm)
{
	GByteArray *out = g_byte_array_new();

	state_save_vm(vm, out);
	return out;
}

/* Ends the test with the first member in which two structs differ. */
static void compare_fields(const char *path, const struct state_field *f, const u8 *a, const u8 *b)
{
	for (; f->name; f++)
		for (u32 i = 0; i < f->count; i++) {
			const u8 *x = a + f->offset + i * f->element_bytes;
			const u8 *y = b + f->offset + i * f->element_bytes;
			char *name = g_strdup_printf("%s.%s[%u]", path, f->name, i);

			if (f->sub)
				compare_fields(name, f->sub, x, y);
			else if (memcmp(x, y, f->element_bytes))
				g_error("%s differs: %llx, %llx", name,
					(unsigned long long)*(const u64 *)x,
					(unsigned long long)*(const u64 *)y);
			g_free(name);
		}
}

static void compare_machines(struct vm *a, struct vm *b, const char *but)
{
	g_assert_cmpuint(vm_clock_now(&a->clock), ==, vm_clock_now(&b->clock));
	for (guint i = 0; i < a->devices->len; i++) {
		struct device *x = g_ptr_array_index(a->devices, i);
		struct device *y = g_ptr_array_index(b->devices, i);

		if (!but || strcmp(x->type->name, but))
			compare_fields(x->id, x->type->state, (u8 *)x, (u8 *)y);
	}
	for (unsigned i = 0; i < GSI_COUNT; i++)
		g_assert_cmpuint(a->irq.asserted[i], ==, b->irq.asserted[i]);
}

static void test_round_trip(void)
{
	for (unsigned seed = 0; seed < 60; seed++) {
		GRand *rand = g_rand_new_with_seed(seed);
		struct fixture a, b;
		GByteArray *first, *second;
		GError *error = NULL;

		full_machine(&a);
		full_machine(&b);
		play(a.vm, rand, 400);
		first = save(a.vm);
		state_load_vm(b.vm, first->data, first->len, &error);
		g_assert_no_error(error);
		compare_machines(a.vm, b.vm, NULL);
		second = save(b.vm);
		g_assert_cmpmem(first->data, first->len, second->data, second->len);
		/* and both go on alike */
		vm_clock_advance(&a.vm->clock, 20000000);
		vm_clock_advance(&b.vm->clock, 20000000);
		compare_machines(a.vm, b.vm, NULL);
		g_byte_array_free(first, TRUE);
		g_byte_array_free(second, TRUE);
		free_machine(&a);
		free_machine(&b);
		g_rand_free(rand);
	}
}

/* A line that the HPET has cut stays as it was when the state is loaded, and tells nobody. */
static void test_cut_lines(void)
{
	struct fixture a, b;
	GByteArray *first, *second;
	GError *error = NULL;

	full_machine(&a);
	full_machine(&b);
	pio_write(a.vm, 0x43, 1, 0x34);
	pio_write(a.vm, 0x40, 1, 1);
	pio_write(a.vm, 0x40, 1, 0);
	mmio_write(a.vm, 0xfed00010, 8, 3); /* replaces, with the PIT's line high */
	mmio_write(a.vm, 0xfed00100, 8, 0x4c);
	mmio_write(a.vm, 0xfed00108, 8, 1);
	vm_clock_advance(&a.vm->clock, 1000000);
	first = save(a.vm);
	state_load_vm(b.vm, first->data, first->len, &error);
	g_assert_no_error(error);
	compare_machines(a.vm, b.vm, NULL);
	second = save(b.vm);
	g_assert_cmpmem(first->data, first->len, second->data, second->len);
	g_byte_array_free(first, TRUE);
	g_byte_array_free(second, TRUE);
	free_machine(&a);
	free_machine(&b);
}

/* Reset forgets what was played, but for what runs on the battery. */
static void test_reset(void)
{
	GRand *rand = g_rand_new_with_seed(5);
	struct fixture a, b;

	full_machine(&a);
	full_machine(&b);
	for (unsigned i = 0; i < 10; i++) {
		play(a.vm, rand, 400);
		g_assert_cmpint(vm_reset(a.vm, NULL), ==, 0);
	}
	g_assert_cmpint(vm_reset(b.vm, NULL), ==, 0);
	vm_clock_advance(&b.vm->clock, vm_clock_now(&a.vm->clock));
	g_assert_cmpint(vm_reset(b.vm, NULL), ==, 0);
	compare_machines(a.vm, b.vm, "rtc");
	free_machine(&a);
	free_machine(&b);
	g_rand_free(rand);
}

static void expect_refused(const u8 *data, size_t bytes, const char *text)
{
	struct fixture f;
	GError *error = NULL;

	full_machine(&f);
	g_assert_cmpint(state_load_vm(f.vm, data, bytes, &error), <, 0);
	g_assert_nonnull(error);
	if (!strstr(error->message, text))
		g_error("'%s' lacks '%s'", error->message, text);
	g_clear_error(&error);
	free_machine(&f);
}

static void test_refused(void)
{
	struct fixture f;
	struct vm *small;
	GByteArray *full, *part;
	u8 *at;

	full_machine(&f);
	full = save(f.vm);
	expect_refused(full->data, 7, "not saved state");
	expect_refused((const u8 *)"LODGEST2........", 16, "not saved state");
	expect_refused(full->data, full->len / 2, "");
	expect_refused(full->data, full->len - 1, "cut");
	small = test_vm_new(1, 4 * MIB);
	part = save(small);
	expect_refused(part->data, part->len, "no saved state of device");
	/* of a machine type that this version does not have, or of none */
	at = memmem(full->data, full->len, f.vm->machine, strlen(f.vm->machine));
	memcpy(at + strlen(f.vm->machine) - 3, "9.9", 3);
	expect_refused(full->data, full->len, "is of machine type 'lodge-q35-9.9'");
	memcpy(at + strlen(f.vm->machine) - 3, f.vm->machine + strlen(f.vm->machine) - 3, 3);
	at = memmem(full->data, full->len, "isr", 3);
	memcpy(at, "isx", 3);
	expect_refused(full->data, full->len, "isx");
	vm_free(small);
	g_byte_array_free(full, TRUE);
	g_byte_array_free(part, TRUE);
	free_machine(&f);
}

/* A damaged stream may load or not; it may not break the program. */
static void test_damaged(void)
{
	GRand *rand = g_rand_new_with_seed(11);
	struct fixture f;
	GByteArray *full;

	full_machine(&f);
	play(f.vm, rand, 300);
	full = save(f.vm);
	for (unsigned i = 0; i < 150; i++) {
		u8 *copy = g_memdup2(full->data, full->len);
		struct fixture g;
		GError *error = NULL;

		for (unsigned k = 0; k < 1 + i % 20; k++)
			copy[g_rand_int_range(rand, 0, full->len)] = g_rand_int(rand);
		full_machine(&g);
		if (!state_load_vm(g.vm, copy, full->len, &error)) {
			vm_clock_advance(&g.vm->clock, 10000000);
			play(g.vm, rand, 50);
		}
		g_clear_error(&error);
		free_machine(&g);
		g_free(copy);
	}
	g_byte_array_free(full, TRUE);
	free_machine(&f);
	g_rand_free(rand);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/state/tables", test_tables);
	g_test_add_func("/state/round-trip", test_round_trip);
	g_test_add_func("/state/cut-lines", test_cut_lines);
	g_test_add_func("/state/reset", test_reset);
	g_test_add_func("/state/refused", test_refused);
	g_test_add_func("/state/damaged", test_damaged);
	return g_test_run();
}
