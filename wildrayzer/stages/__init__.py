"""One function for each job of the workflow; scripts in workflow/scripts call them."""
