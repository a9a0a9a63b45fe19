/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Printing XML, or the parts that somebody wants of it. */
#ifndef LODGE_CLI_XML_H
#define LODGE_CLI_XML_H

#include "cli/command.h"

#define XPATH_OPTIONS                                                                           \
	{ "--xpath", VALUE_TEXT, "EXPRESSION", "only the parts that this XPath names" },        \
	{                                                                                       \
		"--wrap", VALUE_NONE, NULL, "of --xpath: inside one <nodes>, so that it is XML" \
	}

/* All of it, or what --xpath names. False: it has been said why not. */
bool xml_print(const struct invocation *invocation, const char *xml);

#endif
