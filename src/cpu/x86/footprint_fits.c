/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Are a page's bytes those of a footprint? Hot: asked while the guest's vector registers are live.
 */
#include "cpu/bytes.h"
#include "cpu/x86/footprint.h"

/* By how much a family has moved. */
struct shift {
	u8 known[FOOTPRINT_FAMILIES];
	s64 by[FOOTPRINT_FAMILIES];
};

static bool move_by(struct shift *shift, const struct footprint_field *f, s32 now)
{
	s64 by = (s64)now - f->value;

	/* the same forms must be able to hold it */
	if ((now < 0) != (f->value < 0) || (now < FOOTPRINT_DISP_MIN && now > -FOOTPRINT_DISP_MIN))
		return false;
	if (shift->known[f->family])
		return shift->by[f->family] == by;
	shift->known[f->family] = 1;
	shift->by[f->family] = by;
	return true;
}

bool footprint_fits(const struct footprint *f, const u8 *page_bytes, u64 *values)
{
	u8 now[FOOTPRINT_MAX_INSNS * 15];
	struct shift shift;
	unsigned n = 0;

	for (unsigned i = 0; i < f->ranges; i++) {
		copy_few(now + n, page_bytes + f->range[i].off, f->range[i].bytes);
		n += f->range[i].bytes;
	}
	clear_bytes(shift.known, sizeof(shift.known));
	for (unsigned i = 0; i < f->fields; i++) {
		const struct footprint_field *field = &f->field[i];

		values[i] = load_bytes(now + field->at, field->bytes);
		store_bytes(now + field->at, 0, field->bytes);
		if (field->family && !move_by(&shift, field, values[i]))
			return false;
	}
	for (unsigned i = 0; i < f->moves; i++) {
		const struct footprint_move *m = &f->move[i];
		s64 v = m->value + (shift.known[m->family] ? shift.by[m->family] : 0);

		if (v != (s32)v || (v < 0) != (m->value < 0))
			return false;
		values[f->fields + i] = (u32)v;
	}
	return same_bytes(now, f->byte, n);
}
