"""`snapshot-mcp completion`: print a completion script for a shell."""

import argparse

import shtab

from snapshot_mcp.cli import exit_codes
from snapshot_mcp.cli.parser import build_parser


def run_completion(arguments: argparse.Namespace) -> int:
    """Print the completion script of one shell and return the exit code."""
    print(shtab.complete(build_parser(), shell=arguments.shell))
    return exit_codes.OK
