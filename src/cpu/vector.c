/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector instructions whose memory accesses are per element: gathers and scatters, byte-masked
 * stores, and the slow case of AVX-512 and VMASKMOV operands. And the x87 environment, whose image
 * would show the host's instruction pointer.
 *
 * An element that the mask switches off is not accessed and cannot fault. Where the whole operand
 * is accessible that makes no difference and the silicon does it all; only when it is not (or
 * crosses into another page) does a CTX_SLOW block come here: masked_access() fetches the active
 * elements into the bounce buffer, the instruction runs on that, masked_commit() stores the active
 * ones.
 *
 * Hot. References: SDM vol. 2 VGATHER*, VPSCATTER*, MASKMOVDQU, section 2.7 (EVEX), FSTENV, FSAVE.
 */
#include "cpu/bytes.h"
#include "cpu/helper.h"

#define LEGACY_XMM 160
#define HEADER_BV  512

/* ---- registers in the saved image
 * ----------------------------------------------------------------- */

static bool component(const struct cpu *cpu, unsigned i, u32 *offset, u32 *bytes)
{
	for (size_t k = 0; k < cpu->vm->cpuid_count; k++) {
		const struct cpu_cpuid *c = &cpu->vm->cpuid[k];

		if (c->leaf == 0xd && c->subleaf == i) {
			*bytes = c->eax;
			*offset = c->ebx;
			return true;
		}
	}
	return false;
}

/* Takes the state out of the registers and makes every component of the image valid. */
static void image_open(struct cpu *cpu)
{
	u64 *bv = (u64 *)(cpu->xsave + HEADER_BV);
	u32 offset, bytes;

	fpu_leave(cpu);
	if (!(*bv & 1)) {
		clear_bytes(cpu->xsave, 24);
		clear_bytes(cpu->xsave + 32, 128);
		*(u16 *)cpu->xsave = 0x37f;
	}
	if (!(*bv & 2))
		clear_bytes(cpu->xsave + LEGACY_XMM, 256);
	for (unsigned i = 2; i < 8; i++)
		if (cpu->vm->xcr0_mask >> i & 1 && !(*bv >> i & 1) &&
		    component(cpu, i, &offset, &bytes))
			clear_bytes(cpu->xsave + offset, bytes);
	*bv = cpu->vm->xcr0_mask;
}

/* Where the parts of vector register @reg are: 16, 16, 32 bytes, or 64 at once for 16..31. */
struct vector_place {
	u8 *part[3];
	unsigned bytes[3];
};

static struct vector_place vector_place(struct cpu *cpu, unsigned reg)
{
	struct vector_place p = { 0 };
	u32 offset, bytes;

	if (reg >= 16) {
		if (component(cpu, 7, &offset, &bytes)) {
			p.part[0] = cpu->xsave + offset + 64 * (reg - 16);
			p.bytes[0] = 64;
		}
		return p;
	}
	p.part[0] = cpu->xsave + LEGACY_XMM + 16 * reg;
	p.bytes[0] = 16;
	if (component(cpu, 2, &offset, &bytes)) {
		p.part[1] = cpu->xsave + offset + 16 * reg;
		p.bytes[1] = 16;
	}
	if (component(cpu, 6, &offset, &bytes)) {
		p.part[2] = cpu->xsave + offset + 32 * reg;
		p.bytes[2] = 32;
	}
	return p;
}

static void vector_get(struct cpu *cpu, unsigned reg, u8 v[64])
{
	struct vector_place p = vector_place(cpu, reg);

	clear_bytes(v, 64);
	for (unsigned i = 0, at = 0; i < 3; at += p.bytes[i], i++)
		copy_bytes(v + at, p.part[i], p.bytes[i]);
}

static void vector_set(struct cpu *cpu, unsigned reg, const u8 v[64])
{
	struct vector_place p = vector_place(cpu, reg);

	for (unsigned i = 0, at = 0; i < 3; at += p.bytes[i], i++)
		copy_bytes(p.part[i], v + at, p.bytes[i]);
}

static u64 *opmask(struct cpu *cpu, unsigned k)
{
	u32 offset, bytes;

	return component(cpu, 5, &offset, &bytes) ? (u64 *)(cpu->xsave + offset + 8 * k) : NULL;
}

/* ---- fields of VEX and EVEX
 * ------------------------------------------------------------------------- */

static const u8 *payload(const struct insn *insn)
{
	return insn->bytes + insn->opcode_offset;
}
static bool is_evex(const struct insn *insn)
{
	return insn->encoding == ENCODING_EVEX;
}
static unsigned evex_mask(const struct insn *insn)
{
	return payload(insn)[3] & 7;
}
static bool is_wide(const struct insn *insn) /* W */
{
	const u8 *p = payload(insn);

	return is_evex(insn) ? p[2] & 0x80 : p[0] == 0xc4 && p[2] & 0x80;
}
static unsigned vector_bytes(const struct insn *insn)
{
	const u8 *p = payload(insn);

	if (is_evex(insn))
		return 16 << (p[3] >> 5 & 3);
	return 16 << ((p[0] == 0xc4 ? p[2] : p[1]) >> 2 & 1);
}
/* ModRM.reg as a vector register: EVEX has a fifth bit, inverted */
static unsigned vector_reg(const struct insn *insn)
{
	return insn->reg | (is_evex(insn) && !(payload(insn)[1] & 0x10) ? 16 : 0);
}

/* ---- gathers and scatters
 * ----------------------------------------------------------------------------- */

struct gather {
	unsigned count, index_size, data_size;
	unsigned data_reg, index_reg, mask_reg;
	bool scatter, evex;
	u8 data[64], index[64], mask[64];
	u64 k;
};

static bool gather_legal(const struct gather *g)
{
	if (g->evex)
		return g->mask_reg != 0 && (g->scatter || g->data_reg != g->index_reg);
	return g->data_reg != g->index_reg && g->data_reg != g->mask_reg &&
	       g->index_reg != g->mask_reg;
}

static bool gather_active(const struct gather *g, unsigned i)
{
	if (g->evex)
		return g->k >> i & 1;
	return g->mask[(i + 1) * g->data_size - 1] & 0x80;
}

static void gather_done(struct gather *g, unsigned i)
{
	g->k &= ~BIT(i);
	clear_bytes(g->mask + i * g->data_size, g->data_size);
}

static void gather_store(struct cpu *cpu, struct gather *g)
{
	if (!g->scatter)
		vector_set(cpu, g->data_reg, g->data);
	if (g->evex)
		*opmask(cpu, g->mask_reg) = g->k;
	else
		vector_set(cpu, g->mask_reg, g->mask);
}

static bool gather_element(struct cpu *cpu, const struct insn *insn, struct gather *g, unsigned i)
{
	const struct insn_mem *m = &insn->mem;
	u64 index = load_bytes(g->index + i * g->index_size, g->index_size);
	u64 offset = m->disp + (m->base == REG_NONE ? 0 : cpu->gpr[m->base]);
	unsigned access = g->scatter ? MEM_W : MEM_R;
	gva_t gva;

	if (g->index_size == 4)
		index = (s64)(s32)index;
	offset = (offset + index * m->scale) & size_mask(insn->addrsize);
	if (!seg_check(cpu, m->seg, offset, g->data_size, access, &gva))
		return false;
	if (g->scatter)
		return mem_write(cpu, gva, g->data + i * g->data_size, g->data_size, ACCESS_W);
	return mem_read(cpu, gva, g->data + i * g->data_size, g->data_size, ACCESS_R);
}

static enum helper_result do_gather(struct cpu *cpu, const struct insn *insn)
{
	struct gather g;
	bool ok = true;

	clear_bytes(&g, sizeof(g)); /* an initialiser may become a call of memset */
	g.evex = is_evex(insn);
	g.scatter = insn->opcode >= 0xa0;
	g.index_size = insn->opcode & 1 ? 8 : 4;
	g.data_size = is_wide(insn) ? 8 : 4;
	g.count = vector_bytes(insn) / MAX(g.index_size, g.data_size);
	g.data_reg = vector_reg(insn);
	g.index_reg = insn->mem.index;
	g.mask_reg = g.evex ? evex_mask(insn) : insn->vvvv;
	if (!gather_legal(&g))
		return raise_fault(cpu, VEC_UD);
	image_open(cpu);
	vector_get(cpu, g.data_reg, g.data);
	vector_get(cpu, g.index_reg, g.index);
	if (g.evex)
		g.k = *opmask(cpu, g.mask_reg);
	else
		vector_get(cpu, g.mask_reg, g.mask);
	for (unsigned i = 0; i < g.count && ok; i++) {
		if (gather_active(&g, i))
			ok = gather_element(cpu, insn, &g, i);
		if (ok)
			gather_done(&g, i);
	}
	image_open(cpu); /* an access may have gone to a device and loaded the registers */
	if (ok) {
		g.k = 0;
		clear_bytes(g.mask, sizeof(g.mask));
		clear_bytes(g.data + g.count * g.data_size, sizeof(g.data) - g.count * g.data_size);
	}
	gather_store(cpu, &g);
	return ok ? HELPER_NEXT : HELPER_FAULT;
}

/* ---- MASKMOVQ, MASKMOVDQU
 * ------------------------------------------------------------------------------- */

/* MMX register @i: the x87 stack is saved from its top. */
static const u8 *mmx(const struct cpu *cpu, unsigned i)
{
	unsigned top = *(const u16 *)(cpu->xsave + 2) >> 11 & 7;

	return cpu->xsave + 32 + 16 * ((i - top) & 7);
}

/* Any MMX instruction: all registers valid, top of stack zero. */
static void enter_mmx(struct cpu *cpu)
{
	u16 *status = (u16 *)(cpu->xsave + 2);
	u8 regs[8][16];

	for (unsigned i = 0; i < 8; i++)
		copy_bytes(regs[i], mmx(cpu, i), 16);
	copy_bytes(cpu->xsave + 32, regs, sizeof(regs));
	*status &= ~(7 << 11);
	cpu->xsave[4] = 0xff;
}

static enum helper_result do_maskmov(struct cpu *cpu, const struct insn *insn)
{
	bool is_mmx = insn->fpu == FPU_X87 ||
		      (insn->encoding == ENCODING_LEGACY && !(insn->prefixes & PFX_66));
	unsigned bytes = is_mmx ? 8 : 16;
	unsigned seg = insn_segment(cpu, insn, SEG_DS);
	u64 offset = cpu->gpr[RDI] & size_mask(insn->addrsize);
	u8 data[64], mask[64];
	gva_t gva;

	if (is_mmx && x87_pending()) {
		fault(cpu, VEC_MF);
		return HELPER_FAULT;
	}
	image_open(cpu);
	if (is_mmx) {
		copy_bytes(data, mmx(cpu, insn->reg & 7), 8);
		copy_bytes(mask, mmx(cpu, insn->rm & 7), 8);
	} else {
		vector_get(cpu, insn->reg, data);
		vector_get(cpu, insn->rm, mask);
	}
	/* all bytes are checked whatever the mask, as AMD's processors do and SDM vol. 2 permits */
	for (unsigned i = 0; i < bytes; i++)
		if (!seg_check(cpu, seg, offset + i, 1, MEM_W, &gva) ||
		    !mem_probe(cpu, gva, 1, ACCESS_W))
			return HELPER_FAULT;
	for (unsigned i = 0; i < bytes; i++)
		if (mask[i] & 0x80 && (!seg_check(cpu, seg, offset + i, 1, MEM_W, &gva) ||
				       !mem_write(cpu, gva, &data[i], 1, ACCESS_W)))
			return HELPER_FAULT;
	if (is_mmx) {
		image_open(cpu);
		enter_mmx(cpu);
	}
	return HELPER_NEXT;
}

/* ---- masked operands
 * --------------------------------------------------------------------------------------- */

static u64 low_bits(unsigned n)
{
	return n >= 64 ? ~0ull : BIT(n) - 1;
}

/* Without POPCNT the compiler's own is a library call. */
static unsigned ones(u64 k)
{
	unsigned n = 0;

	for (; k; k &= k - 1)
		n++;
	return n;
}

/* Bit i: element i of the memory operand is accessed. */
static u64 active_elements(struct cpu *cpu, const struct insn *insn, unsigned size, unsigned count)
{
	u64 active = 0, k;
	u8 v[64];

	if (!is_evex(insn)) { /* VMASKMOV, VPMASKMOV: sign bits of vvvv */
		vector_get(cpu, insn->vvvv, v);
		for (unsigned i = 0; i < count; i++)
			active |= (u64)(v[(i + 1) * size - 1] >> 7) << i;
		return active;
	}
	k = *opmask(cpu, evex_mask(insn));
	if (insn->compressed)
		return low_bits(ones(k & low_bits(count)));
	if (count == 1 && insn->lanes > 1) /* broadcast: any lane wants it */
		return (k & low_bits(insn->lanes)) != 0;
	return k & low_bits(count);
}

void *masked_access(struct cpu *cpu, const struct insn *insn, gva_t gva)
{
	struct masked *m = &cpu->masked;
	unsigned access = (insn->mem.access & MEM_R ? ACCESS_R : 0) |
			  (insn->mem.access & MEM_W ? ACCESS_W : 0);
	u8 *buffer = cpu->bounce.data + (gva & 63);

	m->gva = gva;
	m->size = insn->element ? insn->element : insn->mem.size;
	m->count = insn->mem.size / m->size;
	image_open(cpu);
	m->active = active_elements(cpu, insn, m->size, m->count);
	clear_bytes(buffer, insn->mem.size);
	for (unsigned i = 0; i < m->count; i++) {
		gva_t at = gva + i * m->size;

		if (!(m->active >> i & 1))
			continue;
		if (access & ACCESS_W && !mem_probe(cpu, at, m->size, access))
			return NULL;
		if (access & ACCESS_R &&
		    !mem_read(cpu, at, buffer + i * m->size, m->size, ACCESS_R))
			return NULL;
	}
	m->pending = (access & ACCESS_W) != 0;
	return buffer;
}

void masked_commit(struct cpu *cpu)
{
	struct masked *m = &cpu->masked;
	const u8 *buffer = cpu->bounce.data + (m->gva & 63);

	m->pending = 0;
	for (unsigned i = 0; i < m->count; i++)
		if (m->active >> i & 1 &&
		    !mem_write(cpu, m->gva + i * m->size, buffer + i * m->size, m->size, ACCESS_W))
			return; /* probed before: another processor took the page away in between */
}

/* ---- the x87 environment
 * -------------------------------------------------------------------------------------- */

#define ENV_BYTES(wide) ((wide) ? 28 : 14)

static void hide_pointers(u8 *env, bool wide)
{
	clear_bytes(env + (wide ? 12 : 6), wide ? 14 : 8); /* the last two bytes are reserved */
}

static void env_store(u8 *env, bool all, bool wide)
{
	if (all && wide)
		__asm__ volatile("fnsave %0" : "=m"(*(u8(*)[108])env));
	else if (all)
		__asm__ volatile("data16 fnsave %0" : "=m"(*(u8(*)[108])env));
	else if (wide)
		__asm__ volatile("fnstenv %0" : "=m"(*(u8(*)[28])env));
	else
		__asm__ volatile("data16 fnstenv %0" : "=m"(*(u8(*)[28])env));
}

static void env_load(const u8 *env, bool all, bool wide)
{
	if (all && wide)
		__asm__ volatile("frstor %0" : : "m"(*(const u8(*)[108])env));
	else if (all)
		__asm__ volatile("data16 frstor %0" : : "m"(*(const u8(*)[108])env));
	else if (wide)
		__asm__ volatile("fldenv %0" : : "m"(*(const u8(*)[28])env));
	else
		__asm__ volatile("data16 fldenv %0" : : "m"(*(const u8(*)[28])env));
}

static enum helper_result do_fpenv(struct cpu *cpu, const struct insn *insn)
{
	bool all = insn->opcode == 0xdd; /* FNSAVE, FRSTOR; D9: FNSTENV, FLDENV */
	bool load = ((insn->modrm >> 3) & 7) == 4;
	bool wide = insn->opsize != 2;
	unsigned bytes = ENV_BYTES(wide) + (all ? 80 : 0);
	u8 env[108];
	gva_t gva;

	if (!cpu->fpu_loaded)
		fpu_enter(cpu);
	if (load && x87_pending())
		return raise_fault(cpu, VEC_MF);
	if (!insn_linear(cpu, insn, bytes, load ? MEM_R : MEM_W, &gva))
		return HELPER_FAULT;
	if (load) {
		if (!mem_read(cpu, gva, env, bytes, ACCESS_R))
			return HELPER_FAULT;
		if (!cpu->fpu_loaded)
			fpu_enter(cpu);
		hide_pointers(env, wide);
		env_load(env, all, wide);
		return HELPER_NEXT;
	}
	if (!mem_probe(cpu, gva, bytes, ACCESS_W))
		return HELPER_FAULT;
	env_store(env, all, wide);
	hide_pointers(env, wide);
	return mem_write(cpu, gva, env, bytes, ACCESS_W) ? HELPER_NEXT : HELPER_FAULT;
}

enum helper_result vector_execute(struct cpu *cpu, const struct insn *insn)
{
	switch (insn->kind) {
	case KIND_GATHER: return do_gather(cpu, insn);
	case KIND_MASKMOV: return do_maskmov(cpu, insn);
	default: return do_fpenv(cpu, insn);
	}
}

/* ---- registers ------------------------------------------------------------------------------- */

void vector_live(unsigned reg, unsigned bytes, void *to)
{
#define GET(n)                                                                                \
	case n:                                                                               \
		if (bytes > 16)                                                               \
			__asm__ volatile("vmovdqu %%ymm" #n ", (%0)" : : "r"(to) : "memory"); \
		else                                                                          \
			__asm__ volatile("movdqu %%xmm" #n ", (%0)" : : "r"(to) : "memory");  \
		break
	switch (reg) {
		GET(0);
		GET(1);
		GET(2);
		GET(3);
		GET(4);
		GET(5);
		GET(6);
		GET(7);
		GET(8);
		GET(9);
		GET(10);
		GET(11);
		GET(12);
		GET(13);
		GET(14);
		GET(15);
	}
#undef GET
}
