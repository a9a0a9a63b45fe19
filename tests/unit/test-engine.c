/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine that executes, in a machine without devices: which pages it says are written, and INIT
 * and start-up messages that are on their way when its state is put in place.
 *
 *	test-engine soft|kvm
 *
 * The guest gets its work from the host by reading port 0x10, an address for each read, and says by
 * port 0x14 what it has come to.
 */
#include "engine.h"

#include "accel/accel.h"
#include "machine/dirty.h"
#include "machine/memory.h"
#include "machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CODE       0x1000
#define START_UP_A 0x20 /* vectors: page numbers of code */
#define START_UP_B 0x21
#define PATIENCE_S 120 /* only ends what never ends by itself */

/* again: in eax, 0x10; test eax, eax; jz end; mov [eax], eax; jmp again; end: hlt; jmp end */
static const u8 writer[] = { 0xe5, 0x10, 0x85, 0xc0, 0x74, 0x04, 0x89,
			     0x00, 0xeb, 0xf6, 0xf4, 0xeb, 0xfd };
/* mov al, VALUE; out 0x14, al; hlt */
static const u8 teller_a[] = { 0xb0, 0xaa, 0xe6, 0x14, 0xf4 };
static const u8 teller_b[] = { 0xb0, 0xbb, 0xe6, 0x14, 0xf4 };
/* jmp . */
static const u8 loop[] = { 0xeb, 0xfe };

static int kvm;            /* /dev/kvm; 0: the software CPU's turn */
static bool dirty_bitmaps; /* KVM's other way */

/* The host's side of the ports. */
static struct {
	const u32 *addresses;
	unsigned count, next;
	unsigned done; /* it has found that there is no more */
	u32 told;
} work;

static void work_port(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	if (write) {
		__atomic_store_n(&work.told, *value, __ATOMIC_RELEASE);
		return;
	}
	*value = work.next < work.count ? work.addresses[work.next] : 0;
	if (work.next++ >= work.count)
		__atomic_store_n(&work.done, 1, __ATOMIC_RELEASE);
}

bool engine_is_kvm(void)
{
	return kvm;
}

void engine_wait(const unsigned *word)
{
	for (int i = 0; i < PATIENCE_S * 1000 && !__atomic_load_n(word, __ATOMIC_ACQUIRE); i++)
		g_usleep(1000);
	g_assert_cmpuint(__atomic_load_n(word, __ATOMIC_ACQUIRE), !=, 0);
}

struct vm *engine_machine(unsigned vcpus, struct region *region)
{
	const struct vm_config config = {
		.name = "engine",
		.accel = kvm ? &accel_kvm : &accel_soft,
		.kvm_fd = kvm,
		.dirty_bitmaps = dirty_bitmaps,
		.memory_bytes = MEMORY,
		.vcpus = vcpus,
		.sockets = vcpus,
		.cores = 1,
		.threads = 1,
	};
	GError *error = NULL;
	struct vm *vm = vm_new(&config, &error);

	g_assert_no_error(error);
	g_assert_cmpint(region_map_add(&vm->pio, region), ==, 0);
	return vm;
}

static struct vm *new_machine(unsigned vcpus)
{
	static struct region region = {
		.access = work_port, .base = 0x10, .bytes = 8, .enabled = true
	};
	struct vm *vm = engine_machine(vcpus, &region);
	GError *error = NULL;

	vm_mem_write(vm, CODE, writer, sizeof(writer));
	vm_mem_write(vm, CODE + 0x100, loop, sizeof(loop));
	vm_mem_write(vm, START_UP_A * PAGE_SIZE, teller_a, sizeof(teller_a));
	vm_mem_write(vm, START_UP_B * PAGE_SIZE, teller_b, sizeof(teller_b));
	g_assert_cmpint(vm_start(vm, true, &error), ==, 0);
	return vm;
}

/* 32-bit code without paging: no tables that the processor would write. */
static void flat_state(struct vm *vm, struct vcpu *vcpu, struct x86_state *s, u64 rip)
{
	vcpu_get_state(vcpu, s, vm_host_tsc(vm));
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		s->seg[i] = (struct x86_segment){ 0, 0xffffffff, 0x10, 0xc093 };
	s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 0x08, 0xc09b };
	s->cr0 = CR0_PE | CR0_ET;
	s->rip = rip;
	s->rflags = 2;
	s->activity = X86_RUNNING;
}

void engine_put_state(struct vm *vm, struct vcpu *vcpu, const struct x86_state *s)
{
	g_assert_cmpint(vcpu_set_state(vcpu, s, vm_host_tsc(vm)), ==, 0);
}

/* Has the guest write a dword at each address. */
static void write_all(struct vm *vm, const u32 *addresses, unsigned count)
{
	struct x86_state *s = g_new0(struct x86_state, 1);

	memset(&work, 0, sizeof(work));
	work.addresses = addresses;
	work.count = count;
	flat_state(vm, vm->vcpus[0], s, CODE);
	engine_put_state(vm, vm->vcpus[0], s);
	vm_resume(vm);
	engine_wait(&work.done);
	vm_pause(vm);
	g_free(s);
	for (unsigned i = 0; i < count; i++) {
		u32 value = 0;

		vm_mem_read(vm, addresses[i], &value, sizeof(value));
		g_assert_cmphex(value, ==, addresses[i]);
	}
}

/* Collects; fails unless it is told these pages and no others. */
static void expect_pages(struct vm *vm, const u32 *addresses, unsigned count)
{
	u64 *pages = g_new0(u64, vm_dirty_words(vm)), *wanted = g_new0(u64, vm_dirty_words(vm));

	for (unsigned i = 0; i < count; i++)
		wanted[addresses[i] / PAGE_SIZE / 64] |= BIT(addresses[i] / PAGE_SIZE % 64);
	g_assert_cmpint(vm_dirty_collect(vm, pages), ==, 0);
	for (u64 i = 0; i < PAGES; i++)
		if ((pages[i / 64] ^ wanted[i / 64]) >> i % 64 & 1)
			g_error("page %" G_GUINT64_FORMAT " is %stold of", i,
				pages[i / 64] >> i % 64 & 1 ? "" : "not ");
	g_free(pages);
	g_free(wanted);
}

static void test_dirty_pages(void)
{
	/* both slots, their ends, a page twice, two pages of one word */
	static const u32 first[] = { 0x9f000,  0x3000,   0x3ffc,    0xc0000,
				     0x100004, 0x101000, MEMORY - 4 };
	static const u32 second[] = { 0x3004, 0x555000 };
	static const u32 devices[] = { 0x400ff0, 0x401000, 0x402000 };
	static u32 many[PAGES];
	struct vm *vm = new_machine(1);
	const u8 bytes[PAGE_SIZE + 17] = { 0 };
	GError *error = NULL;
	unsigned count = 0;

	write_all(vm, second, ARRAY_LEN(second)); /* before anybody wants to know */
	g_assert_cmpint(vm_dirty_start(vm, &error), ==, 0);
	expect_pages(vm, NULL, 0);
	write_all(vm, first, ARRAY_LEN(first));
	expect_pages(vm, first, ARRAY_LEN(first));
	expect_pages(vm, NULL, 0);
	write_all(vm, second, ARRAY_LEN(second));
	expect_pages(vm, second, ARRAY_LEN(second));
	vm_mem_write(vm, 0x400fff, bytes, sizeof(bytes)); /* as a device does; in three pages */
	expect_pages(vm, devices, ARRAY_LEN(devices));
	/* more than a ring holds */
	for (u32 page = 0x200; page < PAGES; page++)
		many[count++] = page * PAGE_SIZE;
	write_all(vm, many, count);
	expect_pages(vm, many, count);
	vm_dirty_stop(vm);
	g_assert_cmpint(vm_dirty_collect(vm, (u64[PAGES / 64]){ 0 }), ==, -EINVAL);
	/* what is written when nobody wants to know is not told of later */
	write_all(vm, first, ARRAY_LEN(first));
	vm_mem_write(vm, 0x400fff, bytes, sizeof(bytes));
	g_assert_cmpint(vm_dirty_start(vm, &error), ==, 0);
	expect_pages(vm, NULL, 0);
	write_all(vm, second, ARRAY_LEN(second));
	expect_pages(vm, second, ARRAY_LEN(second));
	vm_dirty_stop(vm);
	vm_free(vm);
}

/* The second processor has messages waiting; the first one halts. */
static u32 start_second(bool running, bool init, u8 vector)
{
	struct vm *vm = new_machine(2);
	struct x86_state *s = g_new0(struct x86_state, 1);

	memset(&work, 0, sizeof(work));
	flat_state(vm, vm->vcpus[0], s, CODE);
	engine_put_state(vm, vm->vcpus[0], s);
	if (running)
		flat_state(vm, vm->vcpus[1], s, CODE + 0x100);
	else
		vcpu_get_state(vm->vcpus[1], s, vm_host_tsc(vm));
	g_assert_cmpint(s->activity, ==, running ? X86_RUNNING : X86_WAIT_SIPI);
	s->init_pending = init;
	s->sipi_pending = 1;
	s->sipi_vector = vector;
	engine_put_state(vm, vm->vcpus[1], s);
	if (!kvm) { /* KVM takes them when it is asked for its state */
		memset(s, 0, sizeof(*s));
		vcpu_get_state(vm->vcpus[1], s, vm_host_tsc(vm));
		g_assert_cmpint(s->init_pending, ==, init);
		g_assert_cmpint(s->sipi_pending, ==, 1);
		g_assert_cmphex(s->sipi_vector, ==, vector);
	}
	vm_resume(vm);
	engine_wait(&work.told);
	vm_free(vm);
	g_free(s);
	return work.told;
}

static void test_start_up(void)
{
	g_assert_cmphex(start_second(false, false, START_UP_A), ==, 0xaa);
	g_assert_cmphex(start_second(false, false, START_UP_B), ==, 0xbb);
}

static void test_init_and_start_up(void)
{
	g_assert_cmphex(start_second(true, true, START_UP_A), ==, 0xaa);
	g_assert_cmphex(start_second(false, true, START_UP_B), ==, 0xbb);
}

static void test_dirty_bitmaps(void)
{
	dirty_bitmaps = true;
	test_dirty_pages();
	test_each_write();
	dirty_bitmaps = false;
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc > 1 && !strcmp(argv[1], "kvm"))
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		g_print("1..0 # SKIP there is no /dev/kvm\n");
		return 0;
	}
	g_test_add_func("/engine/dirty-pages", test_dirty_pages);
	g_test_add_func("/engine/dirty-pages-of-each-write", test_each_write);
	g_test_add_func("/engine/dirty-pages-while-copied", test_writes_while_copied);
	if (kvm)
		g_test_add_func("/engine/dirty-pages-by-bitmaps", test_dirty_bitmaps);
	g_test_add_func("/engine/start-up", test_start_up);
	g_test_add_func("/engine/init-and-start-up", test_init_and_start_up);
	return g_test_run();
}
