// The subcommands of `egida`. Each gets its name as argv[0] and returns the exit code.
#ifndef EGIDA_CLI_COMMANDS_H
#define EGIDA_CLI_COMMANDS_H

int egida_cmd_run(int argc, char **argv);
int egida_cmd_steward(int argc, char **argv);
int egida_cmd_status(int argc, char **argv);
int egida_cmd_jobs(int argc, char **argv);
int egida_cmd_ranks(int argc, char **argv);
int egida_cmd_events(int argc, char **argv);
int egida_cmd_checkpoints(int argc, char **argv);
int egida_cmd_checkpoint(int argc, char **argv);
int egida_cmd_migrate(int argc, char **argv);
int egida_cmd_config(int argc, char **argv);
int egida_cmd_doctor(int argc, char **argv);
int egida_cmd_clean(int argc, char **argv);
int egida_cmd_check(int argc, char **argv);
int egida_cmd_explain(int argc, char **argv);
int egida_cmd_specs(int argc, char **argv);
int egida_cmd_sim(int argc, char **argv);

#endif
