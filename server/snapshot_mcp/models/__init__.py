"""What the tools answer. Each answer is one flat object; a fact that is not known is left out."""
