/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From bytes to struct insn. Zydis takes the encoding apart; what may run is decided here, by the
 * rows (rows.txt) and by the guest's CPUID contract: an instruction whose feature is hidden does
 * not decode, and LZCNT or TZCNT without their feature are BSR and BSF as on a processor that
 * never had them.
 */
#include "cpu/x86/decode.h"

#include <string.h>
#include <Zydis/Zydis.h>

static const u8 row_kind[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "rows.inc"
};

bool insn_host_may_run(unsigned mnemonic)
{
	switch (row_kind[mnemonic]) {
	case KIND_DENY:
	case KIND_UD:
	case KIND_CLFLUSH:
	case KIND_FPENV:
	case KIND_GATHER:
	case KIND_MASKMOV: return false;
	case KIND_HELPER: /* two of SSE share their names with string instructions */
		return mnemonic == ZYDIS_MNEMONIC_MOVSD || mnemonic == ZYDIS_MNEMONIC_CMPSD;
	case KIND_SYSTEM: return mnemonic == ZYDIS_MNEMONIC_RDTSC;
	default: return true;
	}
}

void insn_contract_init(struct insn_contract *c)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} modes[] = {
		[INSN_16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
		[INSN_32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		[INSN_64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	};

	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		ZydisDecoderInit(&c->decoder[i], modes[i].mode, modes[i].stack);
		ZydisDecoderEnableMode(&c->decoder[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&c->decoder[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&c->decoder[i], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
}

void insn_contract_hide(struct insn_contract *c, unsigned isa)
{
	c->hidden[isa] = 1;
	for (unsigned i = 0; i < ARRAY_LEN(c->decoder); i++) {
		if (isa == ZYDIS_ISA_SET_LZCNT)
			ZydisDecoderEnableMode(&c->decoder[i], ZYDIS_DECODER_MODE_LZCNT,
					       ZYAN_FALSE);
		if (isa == ZYDIS_ISA_SET_BMI1)
			ZydisDecoderEnableMode(&c->decoder[i], ZYDIS_DECODER_MODE_TZCNT,
					       ZYAN_FALSE);
	}
}

static u8 fold_flags(ZydisAccessedFlagsMask m)
{
	u8 f = 0;

	if (m & ZYDIS_CPUFLAG_CF)
		f |= FL_CF;
	if (m & ZYDIS_CPUFLAG_PF)
		f |= FL_PF;
	if (m & ZYDIS_CPUFLAG_AF)
		f |= FL_AF;
	if (m & ZYDIS_CPUFLAG_ZF)
		f |= FL_ZF;
	if (m & ZYDIS_CPUFLAG_SF)
		f |= FL_SF;
	if (m & ZYDIS_CPUFLAG_OF)
		f |= FL_OF;
	return f;
}

static bool count_may_be_zero(const ZydisDecodedInstruction *zi)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD: break;
	default: return false;
	}
	/* D0 and D1 shift by one; an immediate is known; narrow rotates wrap below their width */
	if (zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	    (zi->opcode == 0xd0 || zi->opcode == 0xd1))
		return false;
	if (zi->raw.imm[0].size)
		return (zi->raw.imm[0].value.u & 0x1f) == 0 || zi->operand_width < 32;
	return true;
}

/* What these leave undefined, the silicon may leave unchanged. */
static bool undefined_is_kept(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_SHL:
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
	case ZYDIS_MNEMONIC_BSF:
	case ZYDIS_MNEMONIC_BSR:
	case ZYDIS_MNEMONIC_LZCNT:
	case ZYDIS_MNEMONIC_TZCNT:
	case ZYDIS_MNEMONIC_MUL:
	case ZYDIS_MNEMONIC_IMUL:
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV: return true;
	default: return false;
	}
}

static void decode_flags(const ZydisDecodedInstruction *zi, struct insn *insn)
{
	const ZydisAccessedFlags *f = zi->cpu_flags;
	u8 undefined;

	if (!f)
		return;
	undefined = fold_flags(f->undefined);
	insn->flags_read = fold_flags(f->tested);
	insn->flags_written = fold_flags(f->modified | f->set_0 | f->set_1);
	insn->flags_modified = insn->flags_written | undefined;
	if (!undefined_is_kept(zi->mnemonic))
		insn->flags_written |= undefined;
	if (count_may_be_zero(zi))
		insn->flags_written = 0;
}

/* Number of a general register in ModRM terms; AH..BH as 4..7 are told by the missing REX. */
static int gpr_number(ZydisRegister r)
{
	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR8:
		if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
			return r - ZYDIS_REGISTER_AH + 4;
		if (r >= ZYDIS_REGISTER_SPL)
			return r - ZYDIS_REGISTER_SPL + 4;
		return r - ZYDIS_REGISTER_AL;
	case ZYDIS_REGCLASS_GPR16: return r - ZYDIS_REGISTER_AX;
	case ZYDIS_REGCLASS_GPR32: return r - ZYDIS_REGISTER_EAX;
	case ZYDIS_REGCLASS_GPR64: return r - ZYDIS_REGISTER_RAX;
	default: return -1;
	}
}

/* insn.writes: the bit of the general register that @r is or is part of. */
static u16 register_bit(ZydisRegister r)
{
	int n = gpr_number(r);

	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		n -= 4;
	return n < 0 ? 0 : 1 << n;
}

static u8 address_register(ZydisRegister r)
{
	int n;

	if (r == ZYDIS_REGISTER_NONE)
		return REG_NONE;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP || r == ZYDIS_REGISTER_IP)
		return MEM_RIP;
	n = gpr_number(r);
	if (n >= 0)
		return n;
	return ZydisRegisterGetId(r); /* vector index */
}

static u8 segment_number(ZydisRegister r)
{
	switch (r) {
	case ZYDIS_REGISTER_ES: return SEG_ES;
	case ZYDIS_REGISTER_CS: return SEG_CS;
	case ZYDIS_REGISTER_SS: return SEG_SS;
	case ZYDIS_REGISTER_FS: return SEG_FS;
	case ZYDIS_REGISTER_GS: return SEG_GS;
	default: return SEG_DS;
	}
}

static u8 fold_access(ZydisOperandActions a)
{
	u8 access = 0;

	if (a & ZYDIS_OPERAND_ACTION_MASK_READ)
		access |= MEM_R;
	if (a & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		access |= MEM_W;
	/* A conditional write may leave the old value: it must be there */
	if (a & ZYDIS_OPERAND_ACTION_CONDWRITE)
		access |= MEM_R;
	return access;
}

static void decode_register(const ZydisDecodedOperand *op, struct insn *insn)
{
	int n = gpr_number(op->reg.value);
	u8 access = fold_access(op->actions);

	if (n < 0)
		return;
	access |= op->size / 8 << GPR_WIDTH_SHIFT;
	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG: insn->gpr_reg = access; break;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM: insn->gpr_rm = access; break;
	case ZYDIS_OPERAND_ENCODING_NDSNDD: insn->gpr_vvvv = access; break;
	case ZYDIS_OPERAND_ENCODING_OPCODE:
		insn->gpr_op = access;
		insn->reg_op = n;
		break;
	default: break;
	}
}

static void decode_memory(const ZydisDecodedOperand *op, struct insn *insn)
{
	struct insn_mem *m = &insn->mem;

	m->present = 1;
	m->seg = segment_number(op->mem.segment);
	m->base = address_register(op->mem.base);
	m->index = address_register(op->mem.index);
	m->scale = op->mem.scale ? op->mem.scale : 1;
	m->disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;
	m->size = op->size / 8;
	if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		m->access = 0;
	else
		m->access = fold_access(op->actions);
}

static u8 fpu_need(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	u8 need = FPU_NONE;

	switch (zi->meta.isa_set) {
	case ZYDIS_ISA_SET_X87:
	case ZYDIS_ISA_SET_FCMOV:
	case ZYDIS_ISA_SET_SSE3X87:
	case ZYDIS_ISA_SET_PENTIUMMMX: return FPU_X87;
	case ZYDIS_ISA_SET_SSE_PREFETCH:
	case ZYDIS_ISA_SET_BMI1: /* VEX-encoded on general registers: no XCR0 check (SDM type 13) */
	case ZYDIS_ISA_SET_BMI2: return FPU_NONE;
	case ZYDIS_ISA_SET_SSEMXCSR: return FPU_SSE;
	default: break;
	}
	if (zi->meta.category == ZYDIS_CATEGORY_X87_ALU)
		return FPU_X87;
	for (unsigned i = 0; i < zi->operand_count; i++) {
		ZydisRegisterClass rc;

		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		rc = ZydisRegisterGetClass(ops[i].reg.value);
		if (rc == ZYDIS_REGCLASS_XMM || rc == ZYDIS_REGCLASS_YMM ||
		    rc == ZYDIS_REGCLASS_ZMM || rc == ZYDIS_REGCLASS_MMX)
			need = FPU_SSE;
		if (rc == ZYDIS_REGCLASS_X87)
			return FPU_X87;
	}
	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return FPU_AVX512;
	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		for (unsigned i = 0; i < zi->operand_count; i++)
			if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			    ZydisRegisterGetClass(ops[i].reg.value) == ZYDIS_REGCLASS_MASK)
				return FPU_AVX512;
		return FPU_AVX;
	}
	return need;
}

/* Prefixes and REX, up to the first opcode byte. A REX byte counts only right before the opcode. */
static void decode_prefixes(enum insn_mode mode, struct insn *insn)
{
	unsigned i;

	insn->mem.seg = SEG_DS;
	for (i = 0; i < insn->len; i++) {
		u8 b = insn->bytes[i];

		if (mode == INSN_64 && (b & 0xf0) == 0x40)
			continue;
		if (b == 0xf0)
			insn->prefixes |= PFX_LOCK;
		else if (b == 0xf3)
			insn->prefixes = (insn->prefixes & ~PFX_REPNE) | PFX_REP;
		else if (b == 0xf2)
			insn->prefixes = (insn->prefixes & ~PFX_REP) | PFX_REPNE;
		else if (b == 0x66)
			insn->prefixes |= PFX_66;
		else if (b == 0x67)
			insn->prefixes |= PFX_67;
		else if (b == 0x64)
			insn->mem.seg = SEG_FS;
		else if (b == 0x65)
			insn->mem.seg = SEG_GS;
		else if (b != 0x26 && b != 0x2e && b != 0x36 && b != 0x3e)
			break;
		else if (mode != INSN_64) /* ES CS SS DS: ignored in 64-bit mode */
			insn->mem.seg = (b >> 3) & 3;
	}
	insn->opcode_offset = i;
	if (i && mode == INSN_64 && (insn->bytes[i - 1] & 0xf0) == 0x40)
		insn->rex = insn->bytes[i - 1];
	else
		insn->rex = 0;
}

/* Alignment that a memory operand must have, or the instruction is #GP(0) before any page fault:
 * SDM vol. 2 section 2.4, exception types 1, 2 and 4 of the legacy encoding, type 1 of VEX and
 * EVEX. */
static u8 required_alignment(const ZydisDecodedInstruction *zi, unsigned size)
{
	/* AMD's processors take the SHA extensions' operands as they come */
	if (zi->meta.isa_set == ZYDIS_ISA_SET_SHA)
		return __builtin_cpu_is("intel") && size == 16 ? 16 : 0;
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_CMPXCHG16B:
	case ZYDIS_MNEMONIC_CVTPD2PI:
	case ZYDIS_MNEMONIC_CVTTPD2PI: return size;
	default: break;
	}
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_AVX1:
	case ZYDIS_EXCEPTION_CLASS_E1:
	case ZYDIS_EXCEPTION_CLASS_E1NF: return size;
	case ZYDIS_EXCEPTION_CLASS_SSE1:
	case ZYDIS_EXCEPTION_CLASS_SSE2:
	case ZYDIS_EXCEPTION_CLASS_SSE4: break;
	default: return 0;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM: return 0;
	default: return size == 16 ? 16 : 0;
	}
}

static void decode_raw(const ZydisDecodedInstruction *zi, struct insn *insn)
{
	for (unsigned i = 0; i < zi->raw.prefix_count; i++)
		if (zi->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			insn->mandatory = zi->raw.prefixes[i].value;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		insn->has_modrm = 1;
		insn->modrm_offset = zi->raw.modrm.offset;
		insn->modrm = insn->bytes[zi->raw.modrm.offset];
		insn->reg = ((insn->modrm >> 3) & 7) | (insn->rex & 4 ? 8 : 0);
		insn->rm = zi->raw.modrm.mod == 3 ? (insn->modrm & 7) | (insn->rex & 1 ? 8 : 0)
						  : REG_NONE;
	}
	insn->imm_bytes = zi->raw.imm[0].size / 8;
	insn->imm2_bytes = zi->raw.imm[1].size / 8;
	insn->imm_offset = insn->imm_bytes ? zi->raw.imm[0].offset : insn->len;
	insn->imm = zi->raw.imm[0].value.u;
	if (insn->imm_bytes && insn->imm_bytes < 8)
		insn->imm = (s64)(insn->imm << (64 - 8 * insn->imm_bytes)) >>
			    (64 - 8 * insn->imm_bytes);
	insn->imm2 = zi->raw.imm[1].value.u;
}

/* VEX and EVEX carry their register bits inverted. */
static void decode_vex(const ZydisDecodedInstruction *zi, struct insn *insn)
{
	const u8 *p = insn->bytes + insn->opcode_offset;
	u8 r = 0, b = 0;

	switch (zi->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return;
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		insn->encoding = ENCODING_VEX;
		r = ~p[1] & 0x80;
		b = p[0] == 0xc4 ? ~p[1] & 0x20 : 0;
		insn->vvvv = (~(p[0] == 0xc4 ? p[2] : p[1]) >> 3) & 15;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		insn->encoding = ENCODING_EVEX;
		r = ~p[1] & 0x80;
		b = ~p[1] & 0x20;
		insn->vvvv = (~p[2] >> 3) & 15;
		break;
	default: insn->encoding = ENCODING_OTHER; return;
	}
	insn->reg = ((insn->modrm >> 3) & 7) | (r ? 8 : 0);
	if (insn->rm != REG_NONE)
		insn->rm = (insn->modrm & 7) | (b ? 8 : 0);
}

/* The exception types whose masked-off elements do not fault, SDM vol. 2 section 2.8. */
static bool suppresses_faults(const ZydisDecodedInstruction *zi)
{
	switch (zi->mnemonic) { /* the tables say type 4, the silicon faults */
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
	case ZYDIS_MNEMONIC_VDBPSADBW:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEQB: return false;
	default: break;
	}
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1:
	case ZYDIS_EXCEPTION_CLASS_E2:
	case ZYDIS_EXCEPTION_CLASS_E3:
	case ZYDIS_EXCEPTION_CLASS_E4:
	case ZYDIS_EXCEPTION_CLASS_E5:
	case ZYDIS_EXCEPTION_CLASS_E6:
	case ZYDIS_EXCEPTION_CLASS_E10:
	case ZYDIS_EXCEPTION_CLASS_E11: return true;
	default: return false;
	}
}

/* Memory operands of which a mask may switch elements off. */
static void decode_mask(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops,
			struct insn *insn)
{
	bool result = false; /* is a vector: its lanes count, whatever it is made of */

	if (!insn->mem.present || !insn->mem.access)
		return;
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS:
	case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VPMASKMOVQ: insn->masked = 1; break;
	case ZYDIS_MNEMONIC_VCOMPRESSPD:
	case ZYDIS_MNEMONIC_VCOMPRESSPS:
	case ZYDIS_MNEMONIC_VPCOMPRESSB:
	case ZYDIS_MNEMONIC_VPCOMPRESSD:
	case ZYDIS_MNEMONIC_VPCOMPRESSQ:
	case ZYDIS_MNEMONIC_VPCOMPRESSW:
	case ZYDIS_MNEMONIC_VEXPANDPD:
	case ZYDIS_MNEMONIC_VEXPANDPS:
	case ZYDIS_MNEMONIC_VPEXPANDB:
	case ZYDIS_MNEMONIC_VPEXPANDD:
	case ZYDIS_MNEMONIC_VPEXPANDQ:
	case ZYDIS_MNEMONIC_VPEXPANDW: insn->compressed = 1; break;
	default: break;
	}
	if (insn->encoding == ENCODING_EVEX && zi->avx.mask.reg > ZYDIS_REGISTER_K0 &&
	    suppresses_faults(zi))
		insn->masked = 1;
	if (!insn->masked)
		return;
	insn->lanes = 1;
	for (unsigned i = 0; i < zi->operand_count_visible; i++) {
		unsigned size = ops[i].element_size / 8;

		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && size && insn->mem.size % size == 0)
			insn->element = size;
		else if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			 ops[i].element_count > insn->lanes && !result &&
			 ZydisRegisterGetClass(ops[i].reg.value) != ZYDIS_REGCLASS_MASK)
			insn->lanes = ops[i].element_count;
		result |= i == 0 && insn->lanes > 1;
	}
	/* a scalar has lane 0 only; what is broadcast feeds them all */
	if (insn->element == insn->mem.size && insn->encoding == ENCODING_EVEX &&
	    zi->avx.broadcast.mode == ZYDIS_BROADCAST_MODE_INVALID &&
	    zi->mnemonic != ZYDIS_MNEMONIC_VMOVDDUP)
		insn->lanes = 1;
	/* the mask counts lanes of the result; memory that does not match it is all or nothing */
	if (!insn->element ||
	    (insn->mem.size / insn->element != insn->lanes && insn->mem.size != insn->element))
		insn->element = insn->mem.size;
}

/* Forms of otherwise simple instructions that load segments or system registers. */
static bool is_far_or_segment(const struct insn *insn)
{
	unsigned sub = (insn->modrm >> 3) & 7;

	if (insn->encoding != ENCODING_LEGACY)
		return false;
	if (insn->map == 0) {
		switch (insn->opcode) {
		case 0x06:
		case 0x07:
		case 0x0e:
		case 0x16:
		case 0x17:
		case 0x1e:
		case 0x1f: /* push, pop sreg */
		case 0x8c:
		case 0x8e: /* mov sreg */
		case 0x9a:
		case 0xca:
		case 0xcb:
		case 0xea: /* far call, ret, jmp */ return true;
		case 0xff: return sub == 3 || sub == 5;
		}
	} else if (insn->map == 1) {
		switch (insn->opcode) {
		case 0x20:
		case 0x21:
		case 0x22:
		case 0x23: /* control and debug registers */
		case 0xa0:
		case 0xa1:
		case 0xa8:
		case 0xa9: return true;
		}
	}
	return false;
}

/* MOV of a selector, or of CR0, CR2, CR3 or CR4, to a general register. */
static bool only_reads(const struct insn *insn)
{
	unsigned number = insn->modrm >> 3 & 7;

	if (insn->prefixes & PFX_LOCK)
		return false;
	if (insn->map == 0)
		return insn->opcode == 0x8c && insn->rm != REG_NONE && number < 6;
	return insn->map == 1 && insn->opcode == 0x20 && !(insn->rex & 4) && number <= 4 &&
	       number != 1;
}

static bool names_mmx(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	for (unsigned i = 0; i < zi->operand_count_visible; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(ops[i].reg.value) == ZYDIS_REGCLASS_MMX)
			return true;
	return false;
}

int insn_decode(const struct insn_contract *contract, enum insn_mode mode, const u8 *code,
		unsigned bytes, struct insn *insn)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZyanStatus status;
	u8 copy[15];

	/* the guest may change its bytes meanwhile: judge and keep the same ones */
	memcpy(copy, code, bytes < sizeof(copy) ? bytes : sizeof(copy));
	code = copy;
	status = ZydisDecoderDecodeFull(&contract->decoder[mode], code, bytes, &zi, ops);
	if (status == ZYDIS_STATUS_NO_MORE_DATA && bytes < 15)
		return -1;
	if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return INSN_TOO_LONG;
	if (!ZYAN_SUCCESS(status))
		return 0;

	memset(insn, 0, sizeof(*insn));
	memcpy(insn->bytes, code, zi.length);
	insn->mnemonic = zi.mnemonic;
	insn->kind = row_kind[zi.mnemonic];
	insn->isa = zi.meta.isa_set;
	insn->allowed = insn->kind != KIND_DENY && !contract->hidden[zi.meta.isa_set];
	insn->len = zi.length;
	insn->map = zi.opcode_map;
	insn->opcode = zi.opcode;
	insn->opsize = zi.operand_width / 8;
	insn->bytewide = zi.operand_width == 8;
	insn->addrsize = zi.address_width / 8;
	insn->reg = REG_NONE;
	insn->rm = REG_NONE;
	insn->mem.base = insn->mem.index = REG_NONE;
	decode_prefixes(mode, insn);
	decode_raw(&zi, insn);
	decode_vex(&zi, insn);
	for (unsigned i = 0; i < zi.operand_count; i++) {
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			decode_memory(&ops[i], insn);
		else if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			 ops[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			decode_register(&ops[i], insn);
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			insn->writes |= register_bit(ops[i].reg.value);
	}
	insn->fpu = fpu_need(&zi, ops);
	if (insn->mem.present)
		insn->align = required_alignment(&zi, insn->mem.size);
	/* MMX registers are the x87's, whatever extension the instruction came with */
	insn->x87_waits =
		(insn->fpu == FPU_X87 || names_mmx(&zi, ops)) &&
		zi.mnemonic != ZYDIS_MNEMONIC_FNSTSW && zi.mnemonic != ZYDIS_MNEMONIC_FNSTCW &&
		zi.mnemonic != ZYDIS_MNEMONIC_FNSTENV && zi.mnemonic != ZYDIS_MNEMONIC_FNSAVE;
	/* F3 90 is PAUSE only without REX.B: with it the silicon exchanges RAX and R8 */
	if (zi.mnemonic == ZYDIS_MNEMONIC_PAUSE && insn->rex & 1) {
		insn->opsize = insn->rex & 8 ? 8 : insn->prefixes & PFX_66 ? 2 : 4;
		insn->gpr_op = MEM_RW | insn->opsize << GPR_WIDTH_SHIFT;
		insn->reg_op = 8;
	} else if (zi.mnemonic == ZYDIS_MNEMONIC_PAUSE && mode == INSN_64) {
		insn->kind = KIND_SYSTEM;
	}
	/* PREFETCHW of a register is not one of the wide NOPs */
	if (insn->map == 1 && insn->opcode == 0x0d && insn->rm != REG_NONE)
		insn->allowed = 0;
	decode_flags(&zi, insn);
	decode_mask(&zi, ops, insn);
	if (is_far_or_segment(insn))
		insn->kind = only_reads(insn) ? KIND_SYSTEM : KIND_HELPER;
	/* Inline is what 64-bit code uses */
	if (insn->kind == KIND_SYSTEM && mode != INSN_64)
		insn->kind = KIND_HELPER;
	if (insn->kind == KIND_STRING &&
	    (insn->addrsize != 8 || insn->mem.seg == SEG_FS || insn->mem.seg == SEG_GS))
		insn->kind = KIND_HELPER;
	/* A zero source leaves the destination alone */
	if (zi.mnemonic == ZYDIS_MNEMONIC_BSF || zi.mnemonic == ZYDIS_MNEMONIC_BSR)
		insn->gpr_reg |= MEM_R;
	/* One mnemonic, two instructions: the string forms have a hidden memory operand */
	if ((zi.mnemonic == ZYDIS_MNEMONIC_MOVSD || zi.mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
	    zi.meta.isa_set != ZYDIS_ISA_SET_I386)
		insn->kind = KIND_COPY;
	return zi.length;
}
