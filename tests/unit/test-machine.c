/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory, regions, clock, interrupt lines, stopping and resetting, two machines at once. */
#include "testvm.h"

#include <errno.h>
#include <string.h>

/* Memory. */

static void test_memory_bounds(void)
{
	struct vm *vm = test_vm_bare(1, 4 * MIB);
	u8 buf[16] = { 1, 2, 3 };

	g_assert_cmpint(vm_mem_write(vm, 0x1000, buf, sizeof(buf)), ==, 0);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(vm_mem_read(vm, 0x1000, buf, sizeof(buf)), ==, 0);
	g_assert_cmpint(buf[2], ==, 3);
	/* the video hole, its edges, the end, and ranges that wrap */
	g_assert_cmpint(vm_mem_read(vm, 0x9fff8, buf, 8), ==, 0);
	g_assert_cmpint(vm_mem_read(vm, 0x9fff9, buf, 8), ==, -EFAULT);
	g_assert_cmpint(vm_mem_read(vm, 0xa0000, buf, 1), ==, -EFAULT);
	g_assert_cmpint(vm_mem_read(vm, 0xbffff, buf, 2), ==, -EFAULT);
	g_assert_cmpint(vm_mem_read(vm, 0xc0000, buf, 1), ==, 0);
	g_assert_cmpint(vm_mem_read(vm, 4 * MIB - 1, buf, 1), ==, 0);
	g_assert_cmpint(vm_mem_read(vm, 4 * MIB - 1, buf, 2), ==, -EFAULT);
	g_assert_cmpint(vm_mem_read(vm, UINT64_MAX - 3, buf, 8), ==, -EFAULT);
	g_assert_null(vm_mem_ptr(vm, 0x1000, UINT64_MAX - 0xfff));
	g_assert_null(vm_mem_ptr(vm, MEM_HIGH_BASE, 1));
	g_assert_cmpuint(fake_written(vm), ==, 16);
	vm_free(vm);
}

static void test_memory_high(void)
{
	struct vm *vm = test_vm_bare(1, 4 * GIB); /* touched in two pages only */
	u32 value = 0x12345678;

	g_assert_cmpuint(vm->memory.low_bytes, ==, MEM_LOW_SPLIT);
	g_assert_cmpint(vm_mem_write(vm, MEM_HIGH_BASE + 2 * GIB - 4, &value, 4), ==, 0);
	g_assert_cmpint(vm_mem_write(vm, MEM_HIGH_BASE + 2 * GIB - 3, &value, 4), ==, -EFAULT);
	g_assert_cmpint(vm_mem_write(vm, MEM_LOW_SPLIT - 2, &value, 4), ==, -EFAULT);
	g_assert_true(vm_mem_ptr(vm, MEM_HIGH_BASE, 4) ==
		      (u8 *)vm_mem_ptr(vm, MEM_LOW_SPLIT - 4, 4) + 4);
	vm_free(vm);
}

static void test_memory_refused(void)
{
	const struct memory_backing plain = { 0 };
	struct guest_memory mem;
	GError *error = NULL;

	g_assert_cmpint(guest_memory_init(&mem, 3 * MIB + 1, &plain, NULL, &error), ==, -EINVAL);
	g_assert_nonnull(error);
	g_clear_error(&error);
	g_assert_cmpint(guest_memory_init(&mem, 0, &plain, NULL, &error), ==, -EINVAL);
	g_clear_error(&error);
}

/* Private and shared memory are the same to the guest. */
static void test_memory_kinds(void)
{
	for (int shared = 0; shared < 2; shared++) {
		const struct vm_config config = { .name = "memory",
						  .accel = &fake_accel,
						  .memory_bytes = 5 * MIB,
						  .backing.shared = shared,
						  .vcpus = 1,
						  .sockets = 1,
						  .cores = 1,
						  .threads = 1 };
		struct vm *vm = vm_new(&config, NULL);
		const u8 *last;

		g_assert_nonnull(vm);
		g_assert_cmpint(vm->memory.fd >= 0, ==, shared);
		g_assert_cmpuint((uintptr_t)vm->memory.hva % (shared ? PAGE_SIZE : 2 * MIB), ==, 0);
		last = vm_mem_ptr(vm, 5 * MIB - 1, 1);
		g_assert_cmpuint(*last, ==, 0);
		memset(vm_mem_ptr(vm, 5 * MIB - 3 * PAGE_SIZE, 3 * PAGE_SIZE), 7, 3 * PAGE_SIZE);
		vm_mem_discard(vm, 5 * MIB - 2 * PAGE_SIZE, 2 * PAGE_SIZE);
		g_assert_cmpuint(*last, ==, 0);
		g_assert_cmpuint(last[-2 * PAGE_SIZE], ==, 7);
		vm_free(vm);
	}
}

/* Regions. */

struct probe {
	struct device dev;
	struct region region;
	u64 offset, value;
	unsigned size, accesses;
	bool write;
};

static void probe_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	struct probe *p = container_of(dev, struct probe, dev);

	p->offset = offset;
	p->size = size;
	p->write = write;
	p->accesses++;
	if (write)
		p->value = *value;
	else
		*value = offset < 8 ? p->value >> (8 * offset) : 0;
}

static void add_probe(struct region_map *map, struct probe *p, u64 base, u64 bytes, u8 priority)
{
	*p = (struct probe){ .region = { .dev = &p->dev,
					 .access = probe_access,
					 .base = base,
					 .bytes = bytes,
					 .priority = priority,
					 .enabled = true } };
	g_assert_cmpint(region_map_add(map, &p->region), ==, 0);
}

static u64 read_map(struct region_map *map, u64 addr, unsigned size)
{
	u64 value = 0;

	region_map_access(map, addr, size, &value, false);
	return value;
}

static void test_region_overlap(void)
{
	struct region_map *map = g_new0(struct region_map, 1);
	struct probe bar, board, part;

	region_map_init(map);
	add_probe(map, &bar, 0x1000, 0x1000, REGION_PRIORITY_BAR);
	add_probe(map, &board, 0x1800, 0x100, REGION_PRIORITY_BOARD);
	add_probe(map, &part, 0x1ff0, 0x100, REGION_PRIORITY_BAR);
	bar.value = board.value = part.value = 0;
	read_map(map, 0x17ff, 1);
	g_assert_cmpuint(bar.offset, ==, 0x7ff);
	read_map(map, 0x1800, 4);
	g_assert_cmpuint(board.accesses, ==, 1);
	read_map(map, 0x1900, 4);
	g_assert_cmpuint(bar.offset, ==, 0x900);
	read_map(map, 0x1ff8, 4); /* the first to come keeps what both want */
	g_assert_cmpuint(bar.offset, ==, 0xff8);
	read_map(map, 0x2000, 4);
	g_assert_cmpuint(part.offset, ==, 0x10);
	g_assert_cmphex(read_map(map, 0x3000, 4), ==, 0xffffffff);
	/* out of the way: the other one appears */
	region_map_move(map, &bar.region, 0x8000, true);
	read_map(map, 0x1ff8, 4);
	g_assert_cmpuint(part.offset, ==, 8);
	region_map_move(map, &bar.region, UINT64_MAX - 0x10, true); /* wraps: off */
	g_assert_cmphex(read_map(map, UINT64_MAX - 8, 1), ==, 0xff);
	region_map_move(map, &bar.region, 0, false);
	g_assert_cmphex(read_map(map, 0x1000, 1), ==, 0xff);
	region_map_destroy(map);
	g_free(map);
}

static void test_region_split(void)
{
	struct region_map *map = g_new0(struct region_map, 1);
	struct probe p, q;
	u64 value = 0x11223344;

	region_map_init(map);
	add_probe(map, &p, 0x10, 2, REGION_PRIORITY_BOARD);
	add_probe(map, &q, 0x12, 1, REGION_PRIORITY_BOARD);
	p.region.width_max = 1;
	p.value = 0xbbaa;
	q.value = 0xcc;
	g_assert_cmphex(read_map(map, 0x10, 2), ==, 0xbbaa);
	g_assert_cmpuint(p.accesses, ==, 2);
	g_assert_cmphex(read_map(map, 0x10, 4), ==, 0xffccbbaa);
	g_assert_cmphex(read_map(map, 0xf, 4), ==, 0xccbbaaff);
	region_map_access(map, 0x10, 4, &value, true);
	g_assert_cmphex(p.value, ==, 0x33);
	g_assert_cmphex(q.value, ==, 0x22);
	region_map_destroy(map);
	g_free(map);
}

static void test_region_full(void)
{
	struct region_map *map = g_new0(struct region_map, 1);
	struct probe *probes = g_new0(struct probe, REGION_MAX + 1);

	region_map_init(map);
	for (unsigned i = 0; i < REGION_MAX; i++)
		add_probe(map, &probes[i], 16ull * i, 8, REGION_PRIORITY_BAR);
	probes[REGION_MAX].region = probes[0].region;
	g_assert_cmpint(region_map_add(map, &probes[REGION_MAX].region), ==, -ENOSPC);
	for (unsigned i = 0; i < REGION_MAX; i++) {
		read_map(map, 16ull * i + 4, 4);
		g_assert_cmpuint(probes[i].accesses, ==, 1);
	}
	region_map_destroy(map);
	g_free(probes);
	g_free(map);
}

/* Lookups while another thread moves regions: never a wrong offset. */
struct race {
	struct region_map *map;
	struct probe *moving;
	int stop;
};

static gpointer mover(gpointer data)
{
	struct race *race = data;

	for (unsigned i = 0; !__atomic_load_n(&race->stop, __ATOMIC_RELAXED); i++)
		region_map_move(race->map, &race->moving->region, i & 1 ? 0x1000 : 0x2000, true);
	return NULL;
}

static void checked_access(struct device *dev, u64 offset, unsigned size, u64 *value, bool write)
{
	g_assert_cmpuint(offset, <, 0x100);
}

static void test_region_race(void)
{
	struct region_map *map = g_new0(struct region_map, 1);
	struct probe fixed, moving;
	struct race race = { map, &moving, 0 };
	GThread *thread;

	region_map_init(map);
	add_probe(map, &fixed, 0x1800, 0x100, REGION_PRIORITY_BAR);
	add_probe(map, &moving, 0x1000, 0x100, REGION_PRIORITY_BAR);
	fixed.region.access = moving.region.access = checked_access;
	thread = g_thread_new("mover", mover, &race);
	for (unsigned i = 0; i < 200000; i++)
		read_map(map, i & 1 ? 0x1080 : 0x2080, 4);
	__atomic_store_n(&race.stop, 1, __ATOMIC_RELAXED);
	g_thread_join(thread);
	region_map_destroy(map);
	g_free(map);
}

/* Clock. */

struct fired {
	struct vm_clock *clock;
	struct vm_timer timer;
	u64 at;
	unsigned count;
};

static void on_fire(void *opaque)
{
	struct fired *f = opaque;

	f->at = vm_clock_now(f->clock);
	f->count++;
}

static void test_clock_order(void)
{
	struct vm_clock clock;
	struct fired f[200];

	vm_clock_init(&clock, true);
	for (unsigned i = 0; i < ARRAY_LEN(f); i++) {
		f[i] = (struct fired){ .clock = &clock };
		vm_timer_init(&f[i].timer, on_fire, &f[i]);
		vm_timer_arm(&clock, &f[i].timer, 1000 + i * 7919 % 200);
	}
	for (unsigned i = 0; i < ARRAY_LEN(f); i += 3)
		vm_timer_disarm(&clock, &f[i].timer);
	for (unsigned i = 0; i < ARRAY_LEN(f); i += 5)
		vm_timer_arm(&clock, &f[i].timer, 5000);
	vm_clock_advance(&clock, 2000);
	for (unsigned i = 0; i < ARRAY_LEN(f); i++) {
		g_assert_cmpuint(f[i].count, ==, i % 3 && i % 5);
		if (f[i].count)
			g_assert_cmpuint(f[i].at, ==, 1000 + i * 7919 % 200);
	}
	vm_clock_advance(&clock, 3000);
	g_assert_cmpuint(f[15].at, ==, 5000);
	g_assert_false(vm_timer_armed(&clock, &f[15].timer));
	vm_clock_destroy(&clock);
}

static void test_clock_thread(void)
{
	struct vm_clock clock;
	struct fired f = { .clock = &clock }, g = { .clock = &clock };

	vm_clock_init(&clock, false);
	vm_timer_init(&f.timer, on_fire, &f);
	vm_timer_init(&g.timer, on_fire, &g);
	g_assert_cmpint(vm_clock_start_thread(&clock, NULL), ==, 0);
	vm_timer_arm(&clock, &f.timer, vm_clock_now(&clock) + 1000000);
	g_usleep(20000);
	g_assert_cmpuint(__atomic_load_n(&f.count, __ATOMIC_RELAXED), ==, 0); /* stopped */
	vm_clock_run(&clock, true);
	vm_timer_arm(&clock, &g.timer, vm_clock_now(&clock) + 5000000);
	for (int i = 0; i < 500 && !__atomic_load_n(&g.count, __ATOMIC_RELAXED); i++)
		g_usleep(10000);
	g_assert_cmpuint(f.count, ==, 1);
	g_assert_cmpuint(g.count, ==, 1);
	vm_clock_destroy(&clock);
}

static void wait_fired(const struct fired *f, unsigned count)
{
	for (int i = 0; i < 1000 && __atomic_load_n(&f->count, __ATOMIC_RELAXED) < count; i++)
		g_usleep(10000);
	g_assert_cmpuint(__atomic_load_n(&f->count, __ATOMIC_RELAXED), ==, count);
}

/* However the new thread and the first timer race, the timer fires. */
static void test_clock_start(void)
{
	for (unsigned i = 0; i < 200; i++) {
		struct vm_clock clock;
		struct fired f = { .clock = &clock };

		vm_clock_init(&clock, false);
		vm_timer_init(&f.timer, on_fire, &f);
		g_assert_cmpint(vm_clock_start_thread(&clock, NULL), ==, 0);
		vm_clock_run(&clock, true);
		vm_timer_arm(&clock, &f.timer, vm_clock_now(&clock) + i * 1000);
		wait_fired(&f, 1);
		vm_clock_destroy(&clock);
	}
}

static void test_clock_adopt(void)
{
	struct vm_clock clock;
	struct fired f = { .clock = &clock }, g = { .clock = &clock };
	u64 soon, deadline;

	vm_clock_init(&clock, false);
	vm_timer_init(&f.timer, on_fire, &f);
	vm_timer_init(&g.timer, on_fire, &g);
	g_assert_cmpint(vm_clock_start_thread(&clock, NULL), ==, 0);
	soon = vm_clock_now(&clock) + 20000000;
	vm_timer_arm(&clock, &f.timer, soon);
	g_assert_cmpuint(vm_timer_adopt(&clock, &f.timer), ==, UINT64_MAX); /* time stands */
	vm_clock_run(&clock, true);
	deadline = vm_timer_adopt(&clock, &f.timer);
	if (deadline != UINT64_MAX) { /* else this thread was late and it has fired */
		g_assert_cmpuint(deadline, ==, soon);
		g_assert_cmpuint(vm_timer_adopt(&clock, &f.timer), ==, UINT64_MAX);
		vm_timer_arm(&clock, &g.timer, soon + 1);
		wait_fired(&g, 1);
		g_assert_cmpuint(f.count, ==, 0); /* it is ours */
		vm_timer_give_back(&clock, &f.timer, deadline);
	}
	wait_fired(&f, 1);
	vm_clock_destroy(&clock);
}

/* Lines. */

static void test_irq_shared_line(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct irq_line a, b;

	irq_line_init(&a, vm, 5);
	irq_line_init(&b, vm, 5);
	irq_line_set(&a, true);
	irq_line_set(&b, true);
	g_assert_cmpuint(vm->irq.asserted[5], ==, 2);
	irq_line_set(&a, false);
	irq_line_set(&a, false);
	g_assert_cmpuint(vm->irq.asserted[5], ==, 1);
	irq_line_set(&b, false);
	g_assert_cmpuint(vm->irq.asserted[5], ==, 0);
	vm_free(vm);
}

/* Running and stopping with real threads. */

struct counter {
	u32 steps;
	enum vm_request request;
	bool ask;
};

static bool count_step(struct vm *vm, unsigned cpu, void *opaque)
{
	struct counter *c = opaque;

	__atomic_add_fetch(&c->steps, 1, __ATOMIC_RELAXED);
	if (c->ask && __atomic_exchange_n(&c->ask, false, __ATOMIC_RELAXED)) {
		vm_request(vm, c->request, 42);
		return false;
	}
	return true;
}

static void wait_for_steps(struct counter *c)
{
	u32 before = __atomic_load_n(&c->steps, __ATOMIC_RELAXED);

	for (int i = 0; i < 1000 && __atomic_load_n(&c->steps, __ATOMIC_RELAXED) == before; i++)
		g_usleep(1000);
	g_assert_cmpuint(__atomic_load_n(&c->steps, __ATOMIC_RELAXED), !=, before);
}

/* What a stopped machine sees of the time that passes outside: nothing. */
static void test_time_stands(void)
{
	const struct vm_config config = { .name = "real time",
					  .accel = &fake_accel,
					  .memory_bytes = 4 * MIB,
					  .vcpus = 2,
					  .sockets = 2,
					  .cores = 1,
					  .threads = 1 };
	struct vm *vm = vm_new(&config, NULL);
	u64 ns, tsc, distance;

	g_assert_cmpuint(vm_clock_now(&vm->clock), ==, 0);
	g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
	g_usleep(1000);
	vm_pause(vm);
	ns = vm_clock_now(&vm->clock);
	tsc = vcpu_tsc(vm->vcpus[0]);
	distance = vcpu_tsc(vm->vcpus[1]) - tsc;
	g_assert_cmpuint(ns, >, 0);
	g_usleep(50000);
	g_assert_cmpuint(vm_clock_now(&vm->clock), ==, ns);
	g_assert_cmpuint(vcpu_tsc(vm->vcpus[0]), ==, tsc);
	/* The offset moves by what passed outside: whoever read the counter then can tell. */
	ns = __builtin_ia32_rdtsc() + vm->accel->tsc_offset(vm->vcpus[0]->accel);
	vm_resume(vm);
	g_assert_cmpuint(ns, >, tsc);
	g_assert_cmpuint(__builtin_ia32_rdtsc() - vcpu_tsc(vm->vcpus[0]), >=, ns - tsc);
	vm_pause(vm);
	g_assert_cmpuint(vcpu_tsc(vm->vcpus[0]), >, tsc);
	g_assert_cmpuint(vcpu_tsc(vm->vcpus[1]) - vcpu_tsc(vm->vcpus[0]), ==, distance);
	vm_free(vm);
}

static void test_run_pause_resume(void)
{
	struct vm *vm = test_vm_new(3, 4 * MIB);
	struct counter c[3] = { { 0 } };
	u32 before;
	int value;

	for (unsigned i = 0; i < 3; i++)
		fake_program(vm, i, count_step, &c[i]);
	g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
	for (unsigned i = 0; i < 3; i++)
		wait_for_steps(&c[i]);
	vm_pause(vm);
	g_assert_cmpint(vm_state_get(vm), ==, VM_PAUSED);
	before = c[0].steps;
	g_usleep(5000);
	g_assert_cmpuint(c[0].steps, ==, before);
	vm_resume(vm);
	wait_for_steps(&c[2]);

	/* a request from a vCPU stops all of them before it is looked at */
	c[1].request = VM_REQUEST_RESET;
	__atomic_store_n(&c[1].ask, true, __ATOMIC_RELAXED);
	g_assert_cmpint(vm_wait_request(vm, 5000, &value), ==, VM_REQUEST_RESET);
	g_assert_cmpint(vm_reset(vm, NULL), ==, 0);
	wait_for_steps(&c[0]);
	c[2].request = VM_REQUEST_EXIT;
	__atomic_store_n(&c[2].ask, true, __ATOMIC_RELAXED);
	g_assert_cmpint(vm_wait_request(vm, 5000, &value), ==, VM_REQUEST_EXIT);
	g_assert_cmpint(value, ==, 42);
	g_assert_cmpint(vm_wait_request(vm, 1, &value), ==, VM_REQUEST_TIMEOUT);
	vm_free(vm);
}

/* A halted processor must not miss its wake-up, whenever it comes. */
static bool halt_step(struct vm *vm, unsigned cpu, void *opaque)
{
	u32 *wakes = opaque;

	if (fake_events(vm, cpu) & ACCEL_EVENT_NMI) {
		fake_clear_events(vm, cpu, ACCEL_EVENT_NMI);
		__atomic_add_fetch(wakes, 1, __ATOMIC_SEQ_CST);
	}
	return false;
}

static void test_run_wakeups(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	u32 wakes = 0;

	fake_program(vm, 0, halt_step, &wakes);
	g_assert_cmpint(vm_start(vm, false, NULL), ==, 0);
	for (u32 i = 1; i <= 2000; i++) {
		vcpu_nmi(vm->vcpus[0]);
		for (int spin = 0; __atomic_load_n(&wakes, __ATOMIC_SEQ_CST) != i; spin++) {
			g_assert_cmpint(spin, <, 5000);
			if (spin > 100)
				g_usleep(1000);
		}
		if (i % 7 == 0)
			g_usleep(i % 300);
	}
	vm_free(vm);
}

static void test_two_machines(void)
{
	struct vm *a = test_vm_new(2, 4 * MIB), *b = test_vm_new(1, 8 * MIB);
	struct counter ca = { 0 }, cb = { 0 };
	u32 value = 7;

	fake_program(a, 0, count_step, &ca);
	fake_program(b, 0, count_step, &cb);
	g_assert_cmpint(vm_start(a, false, NULL), ==, 0);
	g_assert_cmpint(vm_start(b, false, NULL), ==, 0);
	wait_for_steps(&ca);
	wait_for_steps(&cb);
	vm_pause(a);
	wait_for_steps(&cb);
	vm_mem_write(a, 0x2000, &value, 4);
	vm_mem_read(b, 0x2000, &value, 4);
	g_assert_cmpuint(value, ==, 0);
	pio_write(a, 0x70, 1, 0x40);
	pio_write(a, 0x71, 1, 0x55);
	pio_write(b, 0x70, 1, 0x40);
	g_assert_cmphex(pio_read(b, 0x71, 1), ==, 0);
	vm_free(a);
	wait_for_steps(&cb);
	vm_free(b);
}

static void test_options(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);
	struct device *dev = test_device_new(vm, "isa-serial", "s0");
	GError *error = NULL;

	g_assert_cmpint(device_set_number(dev, "index", 4, &error), ==, -ERANGE);
	g_clear_error(&error);
	g_assert_cmpint(device_set_string(dev, "index", "x", &error), ==, -EINVAL);
	g_clear_error(&error);
	g_assert_cmpint(device_set_bool(dev, "nonsense", true, &error), ==, -EINVAL);
	g_assert_nonnull(strstr(error->message, "nonsense"));
	g_clear_error(&error);
	g_assert_null(device_new(vm, dev->type, "s0", &error));
	g_assert_nonnull(strstr(error->message, "s0"));
	g_clear_error(&error);
	dev = test_device_new(vm, "virtio-blk", "disk");
	g_assert_cmpint(device_realize(dev, &error), ==, -EINVAL);
	g_assert_nonnull(strstr(error->message, "backend"));
	g_clear_error(&error);
	dev = test_device_new(vm, "virtio-rng", "rng");
	device_set_number(dev, "bus", 3, NULL);
	g_assert_cmpint(device_realize(dev, &error), <, 0);
	g_assert_nonnull(strstr(error->message, "pci.3"));
	g_clear_error(&error);
	vm_free(vm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/memory/bounds", test_memory_bounds);
	g_test_add_func("/memory/high", test_memory_high);
	g_test_add_func("/memory/kinds", test_memory_kinds);
	g_test_add_func("/memory/refused", test_memory_refused);
	g_test_add_func("/region/overlap", test_region_overlap);
	g_test_add_func("/region/split", test_region_split);
	g_test_add_func("/region/full", test_region_full);
	g_test_add_func("/region/race", test_region_race);
	g_test_add_func("/clock/order", test_clock_order);
	g_test_add_func("/clock/thread", test_clock_thread);
	g_test_add_func("/clock/start", test_clock_start);
	g_test_add_func("/clock/adopt", test_clock_adopt);
	g_test_add_func("/irq/shared-line", test_irq_shared_line);
	g_test_add_func("/run/time-stands", test_time_stands);
	g_test_add_func("/run/pause-resume", test_run_pause_resume);
	g_test_add_func("/run/wakeups", test_run_wakeups);
	g_test_add_func("/run/two-machines", test_two_machines);
	g_test_add_func("/device/options", test_options);
	return g_test_run();
}
