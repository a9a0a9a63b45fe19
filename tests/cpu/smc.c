/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that changes: written by the processor that runs it, by another processor, and by a device.
 * Whoever runs it afterwards (after the serialisation that SDM vol. 3 section 8.1.3 asks for) must
 * run the new bytes.
 */
#include "machine.h"

#include <glib.h>
#include <pthread.h>
#include <string.h>

#define ROUNDS 5000

/* Shared words in the first data page, the function in the code page at +0x800. */
#define SEQ  "0x10000000"
#define ACK  "0x10000040"
#define BAD  "0x10000080"
#define FUNC "0x20000800"

/* Patches FUNC's immediate, publishes it, waits for the answer; RBX rounds. */
__asm__(".pushsection .rodata\n"
	"guest_writer:\n"
	"	xor %r12d, %r12d\n"
	"1:	inc %r12d\n"
	"	mov %r12d, (" FUNC " + 1)\n"
	"	mov %r12, " SEQ "\n"
	"2:	pause\n"
	"	mov " ACK ", %rax\n"
	"	cmp %r12, %rax\n"
	"	jne 2b\n"
	"	cmp %rbx, %r12\n"
	"	jb 1b\n"
	"	int3\n"
	"guest_writer_end:\n"
	/* Runs FUNC each time SEQ moves and compares. */
	"guest_reader:\n"
	"	xor %r12d, %r12d\n"
	"	mov %rbx, %r13\n"
	"1:	pause\n"
	"	mov " SEQ ", %rax\n"
	"	cmp %r12, %rax\n"
	"	je 1b\n"
	"	mov %rax, %r12\n"
	"	xor %eax, %eax\n"
	"	cpuid\n"
	"	mov $" FUNC ", %ecx\n"
	"	call *%rcx\n"
	"	cmp %r12d, %eax\n"
	"	je 2f\n"
	"	incq " BAD "\n"
	"2:	mov %r12, " ACK "\n"
	"	cmp %r13, %r12\n"
	"	jb 1b\n"
	"	int3\n"
	"guest_reader_end:\n"
	/* Writes and runs its own code, no serialisation needed but a jump. */
	"guest_self:\n"
	"	xor %r12d, %r12d\n"
	"1:	inc %r12d\n"
	"	mov %r12d, (" FUNC " + 1)\n"
	"	mov $" FUNC ", %ecx\n"
	"	call *%rcx\n"
	"	cmp %r12d, %eax\n"
	"	je 2f\n"
	"	incq " BAD "\n"
	"2:	movl %r12d, 3f + 1 - guest_self + 0x20000000\n"
	"	jmp 3f\n"
	"3:	mov $0, %eax\n"
	"	cmp %r12d, %eax\n"
	"	je 4f\n"
	"	incq " BAD "\n"
	"4:	cmp %rbx, %r12\n"
	"	jb 1b\n"
	"	int3\n"
	"guest_self_end:\n"
	".popsection\n");
extern const char guest_writer[], guest_writer_end[], guest_reader[], guest_reader_end[],
	guest_self[], guest_self_end[];

static const u8 function[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov eax, imm32; ret */

static void load(struct machine *m, unsigned at, const char *code, const char *end)
{
	memcpy(m->code + at, code, end - code);
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code) + at, end - code);
}

static u64 word(struct machine *m, unsigned at)
{
	return __atomic_load_n((u64 *)(m->data[0] + at), __ATOMIC_SEQ_CST);
}

static void start_at(struct machine *m, unsigned cpu, unsigned at, u64 rounds)
{
	struct x86_state s = m->state;

	s.rip = CODE_GVA + at;
	s.gpr[RBX] = rounds;
	s.gpr[RSP] = DATA_GVA + (2 + cpu) * PAGE_SIZE;
	s.xcr0 = 1;
	g_assert_cmpint(cpu_set_state(m->cpus[cpu], &s), ==, 0);
}

static void prepare(struct machine *m, bool step, unsigned cpus)
{
	machine_init_smp(m, step, cpus);
	memcpy(m->code + 0x800, function, sizeof(function));
}

static void test_self(const void *step)
{
	static struct machine m;

	prepare(&m, step != NULL, 1);
	load(&m, 0, guest_self, guest_self_end);
	start_at(&m, 0, 0, ROUNDS);
	g_assert_cmpint(cpu_run(m.cpu), ==, CPU_EXIT_HALTED);
	g_assert_cmpuint(word(&m, 0x80), ==, 0);
	machine_free(&m);
}

static void *run_cpu(void *cpu)
{
	return GINT_TO_POINTER(cpu_run(cpu));
}

static void test_other_cpu(const void *step)
{
	static struct machine m;
	pthread_t reader;
	void *exit;

	prepare(&m, step != NULL, 2);
	load(&m, 0, guest_writer, guest_writer_end);
	load(&m, 0x400, guest_reader, guest_reader_end);
	start_at(&m, 0, 0, ROUNDS);
	start_at(&m, 1, 0x400, ROUNDS);
	pthread_create(&reader, NULL, run_cpu, m.cpus[1]);
	g_assert_cmpint(cpu_run(m.cpu), ==, CPU_EXIT_HALTED);
	pthread_join(reader, &exit);
	g_assert_cmpint(GPOINTER_TO_INT(exit), ==, CPU_EXIT_HALTED);
	g_assert_cmpuint(word(&m, 0x40), ==, ROUNDS);
	g_assert_cmpuint(word(&m, 0x80), ==, 0);
	machine_free(&m);
}

/* The host plays a device that writes code by DMA while the guest runs it. */
static void test_dma(const void *step)
{
	static struct machine m;
	pthread_t reader;
	void *exit;
	u64 *seq;

	prepare(&m, step != NULL, 1);
	load(&m, 0x400, guest_reader, guest_reader_end);
	start_at(&m, 0, 0x400, ROUNDS);
	seq = (u64 *)m.data[0];
	pthread_create(&reader, NULL, run_cpu, m.cpu);
	for (u32 i = 1; i <= ROUNDS; i++) {
		memcpy(m.code + 0x801, &i, 4);
		cpu_vm_memory_written(m.vm, machine_gpa(&m, m.code) + 0x801, 4);
		__atomic_store_n(seq, i, __ATOMIC_SEQ_CST);
		while (word(&m, 0x40) != i)
			;
	}
	pthread_join(reader, &exit);
	g_assert_cmpint(GPOINTER_TO_INT(exit), ==, CPU_EXIT_HALTED);
	g_assert_cmpuint(word(&m, 0x80), ==, 0);
	machine_free(&m);
}

/* A jump to where no memory is finds ones, which are no instruction; memory that appears there is
 * seen. */
static void test_nowhere(const void *step)
{
	static struct machine m;
	struct x86_state s;
	u8 *page = g_aligned_alloc0(1, PAGE_SIZE, PAGE_SIZE);

	machine_init(&m, step != NULL);
	*m.data_pte[0] = RAM_BYTES | 0x67;
	s = m.state;
	s.rip = DATA_GVA + 0xff8;
	g_assert_cmpint(machine_run(&m, &s), ==, VEC_UD);
	g_assert_cmphex(s.rip, ==, DATA_GVA + 0xff8);
	memset(page, 0xcc, PAGE_SIZE);
	g_assert_cmpint(cpu_vm_set_slot(m.vm, 1, RAM_BYTES, PAGE_SIZE, page, 0), ==, 0);
	s = m.state;
	s.rip = DATA_GVA + 0xff8;
	g_assert_cmpint(machine_run(&m, &s), ==, -1);
	machine_free(&m);
	g_aligned_free(page);
}

/* A device that is read writes over the code that reads it, and behind. */
static void overwrite(struct machine *m)
{
	m->code[9]++;
	cpu_vm_memory_written(m->vm, machine_gpa(m, m->code), 16);
}

static void test_device(const void *step)
{
	/* mov rax, [DATA_GVA]; mov ebx, 0; int3 */
	static const u8 code[] = { 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0x10, 0xbb, 0, 0, 0, 0, 0xcc };
	static struct machine m;
	struct x86_state s;

	machine_init(&m, step != NULL);
	*m.data_pte[0] = RAM_BYTES | 0x67;
	memcpy(m.code, code, sizeof(code));
	m.on_read = overwrite;
	for (u64 i = 1; i <= 20; i++) {
		s = m.state;
		s.rip = CODE_GVA;
		g_assert_cmpint(machine_run(&m, &s), ==, -1);
		g_assert_cmphex(s.gpr[RAX], ==, ~0ull);
		g_assert_cmpuint(s.gpr[RBX], ==, i);
	}
	machine_free(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/smc/self", NULL, test_self);
	g_test_add_data_func("/smc/self-step", "step", test_self);
	g_test_add_data_func("/smc/other-cpu", NULL, test_other_cpu);
	g_test_add_data_func("/smc/other-cpu-step", "step", test_other_cpu);
	g_test_add_data_func("/smc/dma", NULL, test_dma);
	g_test_add_data_func("/smc/device", NULL, test_device);
	g_test_add_data_func("/smc/device-step", "step", test_device);
	g_test_add_data_func("/smc/nowhere", NULL, test_nowhere);
	g_test_add_data_func("/smc/nowhere-step", "step", test_nowhere);
	return g_test_run();
}
