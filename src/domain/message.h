/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the domain room says what is wrong and where. */
#ifndef LODGE_DOMAIN_MESSAGE_H
#define LODGE_DOMAIN_MESSAGE_H

#include "domain/domain.h"
#include "domain/xml.h"

/*
 * Sets @error to "FILE:LINE: <ELEMENT>: TEXT" and returns false. @code is one of enum
 * domain_error; @node may be NULL or one that completion added, which has no line.
 */
bool domain_fail(const struct domain *domain, GError **error, enum domain_error code,
		 const xmlNode *node, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Adds "FILE:LINE: <ELEMENT>: TEXT" to the domain's notes. */
void domain_note(struct domain *domain, const xmlNode *node, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* @text, which it frees, as one line that a terminal or a log can show: what is no character or one
 * that controls them becomes U+FFFD. */
char *domain_message_text(char *text);
/* "<sound model='ich9'>": the element with the attribute that tells it from others. */
char *domain_element_label(const xmlNode *node);

#endif
