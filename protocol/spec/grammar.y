// The grammar of the paper's figure 1, and two statements of our own: `Scheduling policy` and `Transport only`.
//
// Terminals in capitals are keywords; VALUE_… is any phrase that a module registered for that variable. Which phrases are
// tried at a place is up to the parser's state (parse.c), so the grammar may be free of the words that a value may have.

%define api.pure full
%define api.push-pull push
%define api.prefix {egd_grammar_}
%define api.token.prefix {EGD_TERMINAL_}
%define api.symbol.prefix {EGD_SYMBOL_}
%define api.value.type {union egd_semantic}
%define parse.lac full
%define parse.error custom
%parse-param {struct egd_parser *parser}

%code requires {
#include "protocol/spec/parse.h"
}

%code {
#include "protocol/spec/expected.h"

static void egd_grammar_error(struct egd_parser *parser, const char *message);
static struct egd_statement *add_statement(struct egd_parser *parser, enum egd_statement_kind kind, uint32_t line,
                                           uint32_t column);
static struct egd_log *make_log(struct egd_parser *parser, uint32_t line, uint32_t column, struct egd_value *infos,
                                struct egd_value *how, struct egd_value *where);
static struct egd_value *append(struct egd_value *list, struct egd_value *value);

// A statement that begins with a value begins where the value does.
#define AT_VALUE(kind, value) add_statement(parser, EGD_STATEMENT_##kind, (value)->line, (value)->column)
#define AT_PLACE(kind, keyword) add_statement(parser, EGD_STATEMENT_##kind, (keyword).line, (keyword).column)
#define NEED(thing)                                                                                                    \
  if (!(thing)) YYNOMEM
}

%token <place> COLON COMMA DETERMINANT LOG ON OUTPUT_COMMIT PIGGYBACK CHECKPOINT IMPLEMENTATION SCHEDULING RETRIEVE
%token <place> DETECT ROLLBACK TAKE TRANSPORT
%token <value> VALUE_EVENT VALUE_DETERMINANT_STRUCTURE VALUE_OUTPUT_COMMIT_PROTO VALUE_EVENT_INFO VALUE_HOW_TO_LOG
%token <value> VALUE_STABLE_STORAGE VALUE_VOLATILE_STORAGE VALUE_PB_VALUE VALUE_CKPT_PROTO VALUE_HOW_TO_CKPT
%token <value> VALUE_CKPT_IMPL VALUE_RECOVERY_GET_DET_PROTO VALUE_ORPHAN_DETECTION_PROTO VALUE_SCHEDULING_POLICY
%token <either> VALUE_EITHER_PROTO

%type <value> event_list event_info_list pb_value_list where_to_log output_commit_proto ckpt_proto
%type <value> optional_policy
%type <log> stable_log logging_stmt rb_log
%type <statement> determinant_stmt

%%

protocol: %empty | protocol statement;

statement: non_det_event_stmt | output_commit_event_stmt | dep_gen_event_stmt | ckpt_stmt | recovery_stmt | transport_stmt;

non_det_event_stmt: determinant_stmt | determinant_stmt stable_log { $1->log = $2; };

determinant_stmt: VALUE_EVENT COLON DETERMINANT COLON VALUE_DETERMINANT_STRUCTURE {
  NEED($$ = AT_VALUE(NONDETERMINISTIC, $1));
  $$->event = $1;
  $$->structure = $5;
};

stable_log: LOG event_info_list VALUE_HOW_TO_LOG ON VALUE_STABLE_STORAGE {
  NEED($$ = make_log(parser, $1.line, $1.column, $2, $3, $5));
};

output_commit_event_stmt: output_commit_proto OUTPUT_COMMIT ON event_list {
  struct egd_statement *statement = AT_VALUE(OUTPUT_COMMIT, $1);
  NEED(statement);
  statement->protocol = $1;
  statement->events = $4;
};

output_commit_proto: VALUE_OUTPUT_COMMIT_PROTO | VALUE_EITHER_PROTO { $$ = $1[0]; };

event_list: VALUE_EVENT | event_list COMMA VALUE_EVENT { $$ = append($1, $3); };

dep_gen_event_stmt:
  VALUE_EVENT COLON PIGGYBACK pb_value_list {
    struct egd_statement *statement = AT_VALUE(DEPENDENCY, $1);
    NEED(statement);
    statement->event = $1;
    statement->piggyback = $4;
  }
| VALUE_EVENT COLON logging_stmt {
    struct egd_statement *statement = AT_VALUE(DEPENDENCY, $1);
    NEED(statement);
    statement->event = $1;
    statement->log = $3;
  }
| VALUE_EVENT COLON PIGGYBACK pb_value_list logging_stmt {
    struct egd_statement *statement = AT_VALUE(DEPENDENCY, $1);
    NEED(statement);
    statement->event = $1;
    statement->piggyback = $4;
    statement->log = $5;
  };

logging_stmt: LOG event_info_list VALUE_HOW_TO_LOG ON where_to_log {
  NEED($$ = make_log(parser, $1.line, $1.column, $2, $3, $5));
};

where_to_log: VALUE_STABLE_STORAGE | VALUE_VOLATILE_STORAGE;

event_info_list: VALUE_EVENT_INFO | event_info_list COMMA VALUE_EVENT_INFO { $$ = append($1, $3); };

pb_value_list: VALUE_PB_VALUE | pb_value_list COMMA VALUE_PB_VALUE { $$ = append($1, $3); };

ckpt_stmt: ckpt_proto CHECKPOINT VALUE_HOW_TO_CKPT ON VALUE_STABLE_STORAGE IMPLEMENTATION COLON VALUE_CKPT_IMPL
           optional_policy {
  struct egd_statement *statement = AT_VALUE(CHECKPOINT, $1);
  NEED(statement);
  statement->protocol = $1;
  statement->how = $3;
  statement->where = $5;
  statement->implementation = $8;
  statement->policy = $9;
};

ckpt_proto: VALUE_CKPT_PROTO | VALUE_EITHER_PROTO { $$ = $1[1]; };

optional_policy: %empty { $$ = NULL; } | SCHEDULING COLON VALUE_SCHEDULING_POLICY { $$ = $3; };

recovery_stmt: recovery_get_det_stmt | orphan_detection_stmt | rollback_stmt;

recovery_get_det_stmt: RETRIEVE COLON VALUE_RECOVERY_GET_DET_PROTO {
  struct egd_statement *statement = AT_PLACE(COLLECTION, $1);
  NEED(statement);
  statement->protocol = $3;
};

orphan_detection_stmt: DETECT COLON VALUE_ORPHAN_DETECTION_PROTO {
  struct egd_statement *statement = AT_PLACE(ORPHANS, $1);
  NEED(statement);
  statement->protocol = $3;
};

rollback_stmt:
  ROLLBACK COLON rb_log {
    struct egd_statement *statement = AT_PLACE(ROLLBACK_LOG, $1);
    NEED(statement);
    statement->log = $3;
  }
| ROLLBACK COLON TAKE ON VALUE_STABLE_STORAGE {
    struct egd_statement *statement = AT_PLACE(ROLLBACK_CHECKPOINT, $1);
    NEED(statement);
    statement->where = $5;
  };

rb_log: LOG event_info_list ON VALUE_STABLE_STORAGE { NEED($$ = make_log(parser, $1.line, $1.column, $2, NULL, $4)); };

transport_stmt: TRANSPORT { NEED(AT_PLACE(TRANSPORT_ONLY, $1)); };

%%

// Errors are found and told by the driver before a token is pushed; what is left is memory.
static void egd_grammar_error(struct egd_parser *parser, const char *message) {
  (void)message;
  parser->no_memory = true;
}

static int yyreport_syntax_error(const yypcontext_t *context, struct egd_parser *parser) {
  (void)parser;
  (void)yypcontext_expected_tokens(context, NULL, 0);
  return 0;
}

static struct egd_statement *add_statement(struct egd_parser *parser, enum egd_statement_kind kind, uint32_t line,
                                           uint32_t column) {
  struct egd_statement *statement = egd_parser_allocate(parser, sizeof(*statement));
  if (!statement) return NULL;
  statement->kind = kind;
  statement->line = line;
  statement->column = column;
  *parser->spec->last = statement;
  parser->spec->last = &statement->next;
  return statement;
}

static struct egd_log *make_log(struct egd_parser *parser, uint32_t line, uint32_t column, struct egd_value *infos,
                                struct egd_value *how, struct egd_value *where) {
  struct egd_log *log = egd_parser_allocate(parser, sizeof(*log));
  if (log) *log = (struct egd_log){line, column, infos, how, where};
  return log;
}

static struct egd_value *append(struct egd_value *list, struct egd_value *value) {
  struct egd_value *last = list;
  while (last->next) last = last->next;
  last->next = value;
  return list;
}

#define KEYWORD(name, phrase) {EGD_SYMBOL_##name, EGD_TERMINAL_##name, phrase, EGD_VARIABLE_COUNT}
#define VALUE(variable) {EGD_SYMBOL_VALUE_##variable, EGD_TERMINAL_VALUE_##variable, NULL, EGD_VARIABLE_##variable}

static const struct {
  int symbol, terminal;
  const char *phrase; // keyword, or
  enum egd_variable variable;
} terminals[] = {
  VALUE(EVENT), VALUE(DETERMINANT_STRUCTURE), VALUE(OUTPUT_COMMIT_PROTO), VALUE(EVENT_INFO), VALUE(HOW_TO_LOG),
  VALUE(STABLE_STORAGE), VALUE(VOLATILE_STORAGE), VALUE(PB_VALUE), VALUE(CKPT_PROTO), VALUE(HOW_TO_CKPT),
  VALUE(CKPT_IMPL), VALUE(RECOVERY_GET_DET_PROTO), VALUE(ORPHAN_DETECTION_PROTO), VALUE(SCHEDULING_POLICY),
  KEYWORD(COLON, ":"), KEYWORD(COMMA, ","), KEYWORD(DETERMINANT, "determinant"), KEYWORD(LOG, "Log"), KEYWORD(ON, "on"),
  KEYWORD(OUTPUT_COMMIT, "output commit"), KEYWORD(PIGGYBACK, "Piggyback"), KEYWORD(CHECKPOINT, "checkpoint"),
  KEYWORD(IMPLEMENTATION, "Implementation"), KEYWORD(SCHEDULING, "Scheduling policy"),
  KEYWORD(RETRIEVE, "Protocol to retrieve determinants"), KEYWORD(DETECT, "Protocol to detect orphans"),
  KEYWORD(ROLLBACK, "On rollback"), KEYWORD(TAKE, "Take independent checkpoint"),
  KEYWORD(TRANSPORT, "Transport only"),
};

size_t egd_expected(void *state, struct egd_expected *ret_expected) {
  yysymbol_kind_t symbols[YYNTOKENS];
  int count = yypstate_expected_tokens(state, symbols, YYNTOKENS);
  size_t n = 0;
  for (size_t t = 0; t < sizeof(terminals) / sizeof(terminals[0]); t++)
    for (int i = 0; i < count; i++)
      if ((int)symbols[i] == terminals[t].symbol)
        ret_expected[n++] = (struct egd_expected){terminals[t].terminal, terminals[t].phrase, terminals[t].variable};
  for (int i = 0; i < count; i++)
    if (symbols[i] == EGD_SYMBOL_YYEOF) ret_expected[n++] = (struct egd_expected){EGD_TERMINAL_YYEOF, NULL, EGD_VARIABLE_COUNT};
  return n;
}
