/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two looks at a domain that precede its completion. Both report the first thing wrong. */
#ifndef LODGE_DOMAIN_CHECK_H
#define LODGE_DOMAIN_CHECK_H

#include "domain/domain.h"
#include "domain/xml.h"

/*
 * check.c: every element and attribute by its row. Also tidies: blanks around values go, relative
 * paths become absolute.
 */
bool domain_check_values(struct domain *domain, GError **error);

/* validate.c: what must be there, and what cannot stand together. */
bool domain_validate(struct domain *domain, GError **error);

#endif
