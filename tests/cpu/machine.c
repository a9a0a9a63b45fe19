/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static gpa_t next_page = 0x10000;

static u8 *page_new(struct machine *m, gpa_t *gpa)
{
	*gpa = next_page;
	next_page += PAGE_SIZE;
	return m->ram + *gpa;
}

static u64 *walk(struct machine *m, gva_t gva)
{
	u64 *table = (u64 *)(m->ram + 0x1000);

	for (int level = 3; level > 0; level--) {
		u64 *e = &table[gva >> (12 + 9 * level) & 511];
		gpa_t gpa;

		if (!(*e & 1)) {
			page_new(m, &gpa);
			*e = gpa | 7;
		}
		table = (u64 *)(m->ram + (*e & 0xffffffffff000));
	}
	return &table[gva >> 12 & 511];
}

static u8 *map(struct machine *m, gva_t gva)
{
	gpa_t gpa;
	u8 *host = page_new(m, &gpa);

	*walk(m, gva) = gpa | 0x67; /* present, writable, user, accessed, dirty */
	return host;
}

static void mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write)
{
	struct machine *m = opaque;

	*data = ~0ull;
	if (!write && m->on_read)
		m->on_read(m);
}
static void no_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	*data = ~0u;
}
static int no_ack(void *opaque, unsigned index)
{
	return -1;
}

static void make_idt(struct machine *m)
{
	u8 *idt = map(m, IDT_GVA);
	u8 *handlers = map(m, HANDLER_GVA);
	u8 *tss = map(m, IDT_GVA + 0x1000);
	const u64 ist1 = IST_TOP;

	for (u64 v = 0; v < 32; v++) {
		u64 h = HANDLER_GVA + 16 * v;
		u64 low = (h & 0xffff) | 8ull << 16 | 1ull << 32 | 0x8e00ull << 32 |
			  (h >> 16 & 0xffff) << 48;
		u64 high = h >> 32;

		memcpy(idt + 16 * v, &low, 8);
		memcpy(idt + 16 * v + 8, &high, 8);
		memset(handlers + 16 * v, 0xf4, 16); /* hlt */
	}
	memcpy(tss + 36, &ist1, 8);
}

static void init(struct machine *m, bool step, unsigned cpus, const char *const *features_off,
		 unsigned plain, int perf_map, int jitdump, int guest_symbols, bool save, int saved)
{
	struct cpu_vm_config config = {
		.cpus = cpus,
		.sockets = cpus,
		.cores = 1,
		.threads = 1,
		.step = step,
		.verify_blocks = true,
		.plain = plain,
		.save_code = save,
		.saved_code = saved,
		.perf_map = perf_map,
		.jitdump = jitdump,
		.guest_symbols = guest_symbols,
		.lapic_hz = 1000000000,
		.features_off = features_off,
		.bus = { .opaque = m, .mmio = mmio, .pio = no_pio, .interrupt_ack = no_ack }
	};
	static const gpa_t scattered[DATA_PAGES] = { 0x300000, 0x320000, 0x310000, 0x340000 };
	GError *error = NULL;
	struct x86_state *s = &m->state;
	u64 gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	u8 *g;

	memset(m, 0, sizeof(*m));
	next_page = 0x10000;
	m->vm = cpu_vm_new(&config, &error);
	if (!m->vm) {
		fprintf(stderr, "%s\n", error->message);
		exit(1);
	}
	m->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cpu_vm_set_slot(m->vm, 0, 0, RAM_BYTES, m->ram, 0);
	for (int i = 0; i < DATA_PAGES; i++) {
		m->data_pte[i] = walk(m, DATA_GVA + i * PAGE_SIZE);
		*m->data_pte[i] = scattered[i] | 0x67;
		m->data[i] = m->ram + scattered[i];
	}
	m->code = map(m, CODE_GVA);
	m->code_behind = map(m, CODE_GVA + PAGE_SIZE);
	map(m, IST_GVA);
	make_idt(m);
	g = map(m, IDT_GVA + 0x2000);
	memcpy(g, gdt, sizeof(gdt));
	for (unsigned i = 0; i < cpus; i++) {
		m->cpus[i] = cpu_new(m->vm, i, &error);
		if (!m->cpus[i])
			exit(1);
	}
	m->cpu = m->cpus[0];
	cpu_get_state(m->cpu, s);
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = 0x1000;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	s->seg[SEG_CS] = (struct x86_segment){ 0, 0xffffffff, 8, 0xa09b };
	for (int i = 0; i < 6; i++)
		if (i != SEG_CS)
			s->seg[i] = (struct x86_segment){ 0, 0xffffffff, 16, 0xc093 };
	s->seg[SEG_TR] = (struct x86_segment){ IDT_GVA + 0x1000, 0x67, 0x18, 0x008b };
	s->gdtr = (struct x86_table){ IDT_GVA + 0x2000, sizeof(gdt) - 1 };
	s->idtr = (struct x86_table){ IDT_GVA, 16 * 32 - 1 };
	s->activity = X86_RUNNING;
	s->rflags = 2;
}

void machine_init(struct machine *m, bool step)
{
	machine_init_smp(m, step, 1);
}

void machine_init_smp(struct machine *m, bool step, unsigned cpus)
{
	init(m, step, cpus, NULL, 0, 0, 0, 0, false, 0);
}

void machine_init_plain(struct machine *m, unsigned plain)
{
	init(m, false, 1, NULL, plain, 0, 0, 0, false, 0);
}

void machine_init_without(struct machine *m, const char *const *features_off)
{
	init(m, false, 1, features_off, 0, 0, 0, 0, false, 0);
}

void machine_init_perf_map(struct machine *m, int fd, int symbols)
{
	init(m, false, 1, NULL, 0, fd, 0, symbols, false, 0);
}

void machine_init_jitdump(struct machine *m, int fd, int symbols)
{
	init(m, false, 1, NULL, 0, 0, fd, symbols, false, 0);
}

void machine_init_saved(struct machine *m, bool save, int saved)
{
	init(m, false, 1, NULL, 0, 0, 0, 0, save, saved);
}

int machine_save(struct machine *m)
{
	int fd = memfd_create("saved", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, 64 * MIB) || cpu_vm_save_code(m->vm, fd) <= 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) {
		fprintf(stderr, "translations cannot be saved\n");
		exit(1);
	}
	return fd;
}

void machine_free(struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_LEN(m->cpus); i++)
		cpu_free(m->cpus[i]);
	cpu_vm_free(m->vm);
	munmap(m->ram, RAM_BYTES);
}

gpa_t machine_gpa(const struct machine *m, const void *host)
{
	return (const u8 *)host - m->ram;
}

int machine_run(struct machine *m, struct x86_state *s)
{
	static const u32 with_error =
		BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17);
	enum cpu_exit exit;
	int vector, frame;
	u64 *stack;
	u8 *ist;

	if (cpu_set_state(m->cpu, s)) {
		fprintf(stderr, "state refused\n");
		abort();
	}
	exit = cpu_run(m->cpu);
	cpu_get_state(m->cpu, s);
	if (exit != CPU_EXIT_HALTED || s->rip < HANDLER_GVA || s->rip >= HANDLER_GVA + 32 * 16)
		return -100 - exit;
	vector = (s->rip - 1 - HANDLER_GVA) / 16;
	frame = with_error >> vector & 1 ? 6 : 5;
	ist = m->ram + (*walk(m, IST_GVA) & 0xffffffffff000);
	stack = (u64 *)(ist + PAGE_SIZE - frame * 8) + (frame - 5);
	s->rip = stack[0];
	s->rflags = stack[2];
	s->gpr[RSP] = stack[3];
	if (vector == VEC_BP) {
		s->rip--;
		return -1;
	}
	return vector;
}
