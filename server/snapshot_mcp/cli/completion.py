"""`snapshot-mcp completion`: what a shell needs to complete our commands."""

import argparse

import shtab

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.parser import build_parser


def run_completion(arguments: argparse.Namespace) -> int:
    """Print the completions of one shell."""
    print(shtab.complete(build_parser(), shell=arguments.shell))
    return exit_codes.OK
