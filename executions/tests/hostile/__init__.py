"""What attackers have thrown at engines like this one, thrown at this one."""
